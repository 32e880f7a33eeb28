"""From samples to result rows: accuracy and spending with intervals, always paired with `full` on the same problems.

One question has one weight: all its seeds are averaged first, and so are problems that ask the same question under
different ids. How the intervals are made says `intervals`; the random numbers are fixed: the same samples give the same
rows.

A sample that failed (an error of the policy or of the engine) is neither right nor wrong: it is in no mean, and where
there is one in a comparison nothing is concluded from it.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from satisfice.measure.intervals import Floats, bootstrapped_ratio, bounded_mean, weighted_bounds
from satisfice.measure.sequential import always_bounded_mean, always_ratio
from satisfice.measure.subject import BASELINE, Subject, baseline_of, subject_of

Sample = Mapping[str, Any]
Cell = Mapping[Any, Sample]
"""What one policy did on one task, by problem and seed."""

JUDGED = ("right", "wrong")
CAP, FIRST_CUE = "fixed-budget", "first-cue"
MARGIN = 0.02
LEAST_SAVING = 0.01  # share of tokens; the lower bound of a saving must reach it before anything "saves"
LEAST_PROBLEMS = 50  # different questions, paired and judged, below which nothing is concluded
MEANS = ("kept", "spent", "probe", "injected", "dropped", "prefilled", "steps", "thinking_tokens")
TIMINGS = ("wall_s", "p50_s", "p95_s")
"""Fields of a row that differ from run to run."""


def result_rows(
    samples: Iterable[Sample],
    *,
    subjects: Sequence[Subject],
    tasks: Sequence[str],
    margin: float = MARGIN,
    always: bool = False,
) -> list[dict[str, Any]]:
    """Return one row for each subject and task that has samples, in the order given, whatever the samples' order.

    The baseline is the first subject's model and sampler under `full`. `always` gives comparisons intervals that hold
    at all times, for runs that stop when they are decided.
    """
    cells: dict[tuple[str, Subject], dict[tuple[str, int], Sample]] = {}
    for sample in samples:
        cells.setdefault((sample["task"], subject_of(sample)), {})[sample["problem"], sample["seed"]] = sample
    baseline = baseline_of(subjects)
    rows = []
    for task in tasks:
        here = {subject: cells[task, subject] for subject in subjects if (task, subject) in cells}
        for subject, cell in here.items():
            full = here.get(baseline) if baseline is not None else None
            compared = paired(cell, full, margin=margin, is_baseline=subject == baseline, always=always)
            told = {**subject.as_row(), "task": task, "is_baseline": subject == baseline}
            rows.append({**told, **summary(cell), **compared, **_gains(subject, here)})
    return rows


def _gains(subject: Subject, here: Mapping[Subject, Cell]) -> dict[str, float | None]:
    """Return what a rule gains at equal spending over the plain rules under the same model and sampler.

    Over `cap` at all its settings, and over `first-cue`.
    """
    found: dict[str, float | None] = {}
    full = subject.under(BASELINE)
    for name, plain in (("cap", CAP), ("first_cue", FIRST_CUE)):
        points = [
            cell for other, cell in here.items() if id_of(other.policy) == plain and other.under(BASELINE) == full
        ]
        is_rule = id_of(subject.policy) not in (BASELINE, CAP, FIRST_CUE)
        line = [*points, here[full]] if is_rule and points and full in here else []
        gain = gain_at_equal_spending(here[subject], line)
        found |= {f"gain_over_{name}{end}": gain[f"gain{end}"] for end in ("", "_low", "_high")}
    return found


def id_of(policy: str) -> str:
    """Return the id in a policy's canonical text.

    >>> id_of("fixed-budget(tokens=48)")
    'fixed-budget'
    """
    return policy.partition("(")[0]


def question_of(sample: Sample) -> str:
    """Return what tells a sample's question from others: its digest; its problem's id in samples that have none."""
    return str(sample.get("question_digest") or sample["problem"])


def summary(cell: Cell) -> dict[str, Any]:
    """What one policy did on one task. Tokens, `flops` and `wall_s` are means over its questions; rates are fractions.

    `n` counts different questions, `problems` ids, `judged` the questions with a verdict. Times are None where answers
    were replayed. `accuracy` is right / (right + wrong), strict: an answer that never came is wrong, an unknown verdict
    is neither. Samples that failed are in `errors`, with the first one's cause, and in no mean.
    """
    samples = [cell[key] for key in sorted(cell)]
    done = [sample for sample in samples if not sample["error"]]
    failed = [sample for sample in samples if sample["error"]]
    known = [sample for sample in done if sample["verdict"] in JUDGED]
    right = _by_question((question_of(sample), (sample["verdict"] == "right",)) for sample in known)[:, 0]
    accuracy = bounded_mean(right, np.ones_like(right), 0, 1)
    timed = [sample for sample in done if sample["wall_s"] is not None]
    walls = [sample["wall_s"] for sample in timed]
    known_flops = bool(done) and all(sample.get("flops") is not None for sample in done)
    return {
        "n": len({question_of(sample) for sample in samples}),
        "problems": len({sample["problem"] for sample in samples}),
        "samples": len(samples),
        "seeds": len({sample["seed"] for sample in samples}),
        "judged": len(right),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "accuracy_flexible": _mean(
            [sample for sample in done if sample["verdict_flexible"] in JUDGED],
            lambda s: s["verdict_flexible"] == "right",
        ),
        **{name: _mean(done, operator.itemgetter(name)) for name in MEANS},
        "flops": _mean(done, operator.itemgetter("flops")) if known_flops else None,
        "wall_s": _mean(timed, operator.itemgetter("wall_s")),
        "p50_s": float(np.percentile(walls, 50)) if walls else None,
        "p95_s": float(np.percentile(walls, 95)) if walls else None,
        "truncated_rate": _mean(done, lambda s: s["truncated"]),
        "no_answer_rate": _mean(done, lambda s: s["answer"] is None),
        "unknown_rate": _mean(done, lambda s: s["verdict"] == "unknown"),
        "error_rate": len(failed) / len(samples) if samples else 0.0,
        "errors": len(failed),
        "first_error": failed[0]["error"] if failed else "",
    }


def paired(
    cell: Cell,
    baseline: Cell | None,
    *,
    margin: float = MARGIN,
    is_baseline: bool = False,
    always: bool = False,
) -> dict[str, Any]:
    """Compare a policy with the baseline on the problems and seeds that both have, and whose verdicts are both known.

    `pairs` counts answers, `paired` different questions. `delta_accuracy` is a difference of accuracies; `saving` is
    1 - (tokens spent) / (tokens the baseline spent), a ratio of sums over questions. Both are None where a sample of
    the policy failed, or its partner. `mcnemar_p` is exact and given where each question has one pair: several
    answers to one question are not independent. With `always` both intervals hold at all times (`sequential`), however
    often one looks; they are wider.
    """
    both = [(cell[key], baseline[key]) for key in sorted(cell) if key in baseline] if baseline else []
    failed = any(s["error"] for s in cell.values()) or any(theirs["error"] for _, theirs in both)
    pairs = [] if failed else [pair for pair in both if all(s["verdict"] in JUDGED for s in pair)]
    sums = _by_question(
        (
            question_of(ours),
            (
                int(ours["verdict"] == "right") - int(theirs["verdict"] == "right"), ours["spent"], theirs["spent"],
                theirs["verdict"] == "right",
            ),
        )
        for ours, theirs in pairs
    )  # fmt: skip
    columns = sums.T if len(sums) else np.zeros((4, 0))
    mean, ratio = (always_bounded_mean, always_ratio) if always else (bounded_mean, bootstrapped_ratio)
    difference = mean(columns[0], np.ones_like(columns[0]), -1, 1)
    cost = ratio(columns[1], columns[2])
    row: dict[str, Any] = {
        "pairs": len(pairs),
        "paired": len(sums),
        "delta_accuracy": difference.value,
        "delta_accuracy_low": difference.low,
        "delta_accuracy_high": difference.high,
        "saving": _less(cost.value),
        "saving_low": _less(cost.high),
        "saving_high": _less(cost.low),
        "mcnemar_p": None,
        "margin": margin,
        "least_saving": LEAST_SAVING,
    }
    if pairs and len(pairs) == len(sums):
        row["mcnemar_p"] = mcnemar_p(int((columns[0] > 0).sum()), int((columns[0] < 0).sum()))
    if failed:
        row["verdict"] = "error"
    elif is_baseline:
        row["verdict"] = "baseline"
    elif not both:
        row["verdict"] = "no baseline"
    else:
        row["verdict"] = verdict(row, baseline_right=bool(columns[3].any()))
    return row


def verdict(row: Mapping[str, Any], *, baseline_right: bool) -> str:
    """Return what may be said of a policy against the baseline, at the margin stated beforehand.

    - `saves`: less accuracy is lost than the margin (lower bound above -margin), and tokens are saved (lower bound of
      at least `LEAST_SAVING`).
    - `no saving`: as accurate by the same test, but such a saving is not shown.
    - `worse`: accuracy is lower (upper bound below 0), and a loss beyond the margin cannot be excluded.
    - `no claim`: the data do not decide; or fewer than `LEAST_PROBLEMS` questions are paired and judged; or the
      baseline is never right, so that there is nothing to lose.

    Two more say that there is nothing to judge: `no baseline`, and `error` where a sample of either failed.
    """
    low, high, saving_low = row["delta_accuracy_low"], row["delta_accuracy_high"], row["saving_low"]
    if row["paired"] < LEAST_PROBLEMS or not baseline_right or low is None or high is None or saving_low is None:
        return "no claim"
    if low > -row["margin"]:
        return "saves" if saving_low >= row["least_saving"] else "no saving"
    return "worse" if high < 0 else "no claim"


def is_decided(row: Mapping[str, Any]) -> bool:
    """Return whether more problems cannot be expected to change the verdict of a row whose intervals always hold.

    It saves; or it is as accurate and saves less than would count; or it surely loses more than the margin. A sample
    that failed ends a comparison too: nothing is concluded from it.
    """
    if row["verdict"] in ("saves", "error", "no baseline"):
        return True
    if row["verdict"] == "no saving":
        return bool(row["saving_high"] is not None and row["saving_high"] < row["least_saving"])
    high = row["delta_accuracy_high"]
    return bool(row["verdict"] == "worse" and high is not None and high < -row["margin"])


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test, from the numbers of pairs that only one of the two got right.

    >>> round(mcnemar_p(18, 8), 4)
    0.0755
    """
    return float(binomtest(min(gained, lost), gained + lost, 0.5).pvalue) if gained + lost else 1.0


def gain_at_equal_spending(cell: Cell, frontier: Sequence[Cell]) -> dict[str, Any]:
    """Return how much more accurate a policy is than a family of others at the tokens that it spends itself.

    The others (say `cap` at several settings, and `full`) are points (mean spent, accuracy), sorted by spending and
    joined by straight lines, which mixing two neighbours at random really reaches. `gain` is the policy's accuracy less
    the line's height at the policy's spending, over the problems and seeds that all of them have. It is None where a
    sample failed, and where the policy spends less than the cheapest or more than the dearest point: the line is never
    drawn further (but in a draw of weights that falls outside, the nearest point stands for it). Unknown verdicts have
    no part.
    """
    everyone = [cell, *frontier]
    failed = any(sample["error"] for one in everyone for sample in one.values())
    keys = sorted(set(cell).intersection(*frontier)) if frontier and not failed else []
    keys = [key for key in keys if all(one[key]["verdict"] in JUDGED for one in everyone)]
    sums = _by_question(
        (
            question_of(cell[key]),
            (1.0, *(value for one in everyone for value in (one[key]["spent"], one[key]["verdict"] == "right"))),
        )
        for key in keys
    )
    empty: dict[str, Any] = {"gain": None, "gain_low": None, "gain_high": None, "spent": None, "n": len(sums)}
    if not keys:
        return empty
    total = sums.sum(axis=0)
    spent = total[1::2] / total[0]
    empty["spent"] = float(spent[0])
    if not min(spent[1:]) <= spent[0] <= max(spent[1:]):
        return empty
    worst = total / len(sums)
    best = worst.copy()
    worst[2::2] = [0, *[worst[0]] * len(frontier)]
    best[2::2] = [best[0], *[0] * len(frontier)]
    low, high = weighted_bounds(sums, _gain, worst=worst, best=best)
    return {**empty, "gain": float(_gain(total)), "gain_low": low, "gain_high": high}


def _gain(sums: Floats) -> Floats:
    """[..., 1 + 2 (1 + points)] sums -> [...] gain over the line through the points."""
    means = sums[..., 1:] / sums[..., :1]
    at, height = means[..., 0], means[..., 1]
    x, y = means[..., 2::2], means[..., 3::2]
    order = np.argsort(x, axis=-1, kind="stable")
    x, y = np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)
    line = np.where(at >= x[..., -1], y[..., -1], y[..., 0])
    for i in range(x.shape[-1] - 1):
        width = x[..., i + 1] - x[..., i]
        share = np.divide(at - x[..., i], width, out=np.zeros_like(at), where=width > 0)
        inside = (at >= x[..., i]) & (at < x[..., i + 1])
        line = np.where(inside, y[..., i] + share * (y[..., i + 1] - y[..., i]), line)
    return np.asarray(height - line)


def _by_question(rows: Iterable[tuple[str, Sequence[float]]]) -> Floats:
    """[questions, columns]: the mean of the rows of each question, in the order of the questions' names."""
    found: dict[str, list[Sequence[float]]] = {}
    for question, values in rows:
        found.setdefault(question, []).append(values)
    means = [np.mean(np.asarray(found[question], dtype=np.float64), axis=0) for question in sorted(found)]
    return np.stack(means) if means else np.zeros((0, 1))


def _less(share: float | None) -> float | None:
    return None if share is None else 1.0 - share


def _mean(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float | None:
    """Return the mean over questions of the mean over a question's samples; None without samples."""
    found = _by_question((question_of(sample), (value(sample),)) for sample in samples)
    return float(found.mean()) if len(found) else None

"""From samples to result rows: accuracy and spending with intervals, always paired with `full` on the same problems.

An interval is the 95 % percentile interval of a bootstrap over problems; all seeds of one problem stay together, and
accuracy and tokens come from the same resamples. The random numbers are fixed: the same samples give the same rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap

Sample = Mapping[str, Any]
Floats = NDArray[np.float64]

BASELINE, CAP, FIRST_CUE = "full", "fixed-budget", "first-cue"
MARGIN = 0.02
LEVEL = 0.95
RESAMPLES = 10_000
FEW = 10  # problems that differ; below it the bootstrap alone carries no claim
MEANS = ("kept", "spent", "probe", "injected", "dropped", "prefilled", "steps", "thinking_tokens")
TIMINGS = ("wall_s", "p50_s", "p95_s")
"""Fields of a row that differ from run to run."""


def result_rows(
    samples: Iterable[Sample], *, policies: Sequence[str], tasks: Sequence[str], margin: float = MARGIN
) -> list[dict[str, Any]]:
    """One row for each policy and task that has samples, in the order given, whatever the order of the samples."""
    cells: dict[tuple[str, str], dict[tuple[str, int], Sample]] = {}
    for sample in samples:
        cells.setdefault((sample["task"], sample["policy"]), {})[sample["problem"], sample["seed"]] = sample
    rows = []
    for task in tasks:
        here = {policy: cells[task, policy] for policy in policies if (task, policy) in cells}
        for policy, cell in here.items():
            compared = paired(cell, here.get(BASELINE), margin=margin, is_baseline=policy == BASELINE)
            rows.append({"policy": policy, "task": task, **summary(cell), **compared, **_gains(policy, here)})
    return rows


def _gains(policy: str, here: Mapping[str, Mapping[tuple[str, int], Sample]]) -> dict[str, float | None]:
    """What a rule gains at equal spending over the plain rules: over `cap` at all its settings, over `first-cue`."""
    found: dict[str, float | None] = {}
    for name, plain in (("cap", CAP), ("first_cue", FIRST_CUE)):
        points = [cell for other, cell in here.items() if other.partition("(")[0] == plain]
        is_rule = policy.partition("(")[0] not in (BASELINE, CAP, FIRST_CUE)
        line = [*points, here[BASELINE]] if is_rule and points and BASELINE in here else []
        gain = gain_at_equal_spending(here[policy], line)
        found |= {f"gain_over_{name}{end}": gain[f"gain{end}"] for end in ("", "_low", "_high")}
    return found


def summary(cell: Mapping[tuple[str, int], Sample]) -> dict[str, Any]:
    """What one policy did on one task. Token counts and `wall_s` are means over its answers; rates are fractions.

    Times are None where answers were replayed.

    `accuracy` is right / (right + wrong), strict; an unknown verdict is in neither and shows up in `unknown_rate`. An
    answer that never came, and a policy that failed, are wrong.
    """
    samples = [cell[key] for key in sorted(cell)]
    low, high = _accuracy_interval(samples)
    walls = [sample["wall_s"] for sample in samples if sample["wall_s"] is not None]
    return {
        "n": len({sample["problem"] for sample in samples}),
        "samples": len(samples),
        "seeds": len({sample["seed"] for sample in samples}),
        "accuracy": _accuracy(samples, "verdict"),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_flexible": _accuracy(samples, "verdict_flexible"),
        **{name: float(np.mean([sample[name] for sample in samples])) for name in MEANS},
        "wall_s": float(np.mean(walls)) if walls else None,
        "p50_s": float(np.percentile(walls, 50)) if walls else None,
        "p95_s": float(np.percentile(walls, 95)) if walls else None,
        "truncated_rate": _share(samples, lambda s: s["truncated"]),
        "no_answer_rate": _share(samples, lambda s: s["answer"] is None),
        "unknown_rate": _share(samples, lambda s: s["verdict"] == "unknown"),
        "error_rate": _share(samples, lambda s: s["error"]),
    }


def paired(
    cell: Mapping[tuple[str, int], Sample],
    baseline: Mapping[tuple[str, int], Sample] | None,
    *,
    margin: float = MARGIN,
    is_baseline: bool = False,
) -> dict[str, Any]:
    """A policy against the baseline on the problems and seeds that both have.

    `delta_accuracy` is a difference of accuracies over the pairs in which both verdicts are known; `saving` is
    1 - (tokens spent) / (tokens the baseline spent), a ratio of sums. `mcnemar_p` is exact and given for one seed only:
    several answers to one problem are not independent.
    """
    pairs = [(cell[key], baseline[key]) for key in sorted(cell) if key in baseline] if baseline else []
    sums = _sums_by_problem(pairs)
    difference = _ratio(sums[:, 0], sums[:, 1])
    cost = _ratio(sums[:, 2], sums[:, 3])
    row: dict[str, Any] = {
        "pairs": len(pairs),
        "delta_accuracy": difference.value,
        "delta_accuracy_low": difference.low,
        "delta_accuracy_high": difference.high,
        "saving": _less(cost.value),
        "saving_low": _less(cost.high),
        "saving_high": _less(cost.low),
        "mcnemar_p": None,
        "margin": margin,
        "verdict": "baseline",
    }
    if pairs and len(pairs) == len(sums):
        gained = sum(ours["verdict"] == "right" and theirs["verdict"] == "wrong" for ours, theirs in pairs)
        lost = sum(ours["verdict"] == "wrong" and theirs["verdict"] == "right" for ours, theirs in pairs)
        row["mcnemar_p"] = mcnemar_p(gained, lost)
    if not is_baseline:
        gained, lost = (int((sign * sums[:, 0] > 0).sum()) for sign in (1, -1))
        row["verdict"] = verdict(row, problems=len(sums), gained=gained, lost=lost)
    return row


def verdict(row: Mapping[str, Any], *, problems: int, gained: int, lost: int) -> str:
    """What may be said of a policy against the baseline, at the margin stated beforehand.

    - `saves`: less accuracy is lost than the margin (lower bound above -margin) and tokens are saved (above 0).
    - `no saving`: as accurate by the same test, but a saving is not shown.
    - `worse`: accuracy is lower (upper bound below 0), and a loss beyond the margin cannot be excluded.
    - `no claim`: the data do not decide.
    - `no baseline`: nothing to compare with.

    `gained` and `lost` count the problems on which the policy does better and worse. When few differ, a bootstrap has
    little to draw from and its interval is too narrow (of zero width when none does): then the exact upper bound of the
    share of lost problems must be below the margin too.
    """
    low, high, saving_low = row["delta_accuracy_low"], row["delta_accuracy_high"], row["saving_low"]
    if not row["pairs"]:
        return "no baseline"
    if low is None or high is None or saving_low is None:
        return "no claim"
    if low > -row["margin"]:
        if gained + lost < FEW and binomtest(lost, problems).proportion_ci(LEVEL).high >= row["margin"]:
            return "no claim"
        return "saves" if saving_low > 0 else "no saving"
    return "worse" if high < 0 else "no claim"


def mcnemar_p(gained: int, lost: int) -> float:
    """The exact two-sided p of McNemar's test, from the numbers of pairs that only one of the two got right.

    >>> round(mcnemar_p(18, 8), 4)
    0.0755
    """
    return float(binomtest(min(gained, lost), gained + lost, 0.5).pvalue) if gained + lost else 1.0


def gain_at_equal_spending(
    cell: Mapping[tuple[str, int], Sample], frontier: Sequence[Mapping[tuple[str, int], Sample]]
) -> dict[str, Any]:
    """How much more accurate a policy is than a family of others at the tokens that it spends itself.

    The others (say `cap` at several settings, and `full`) are points (mean spent, accuracy), sorted by spending and
    joined by straight lines, which mixing two neighbours at random really reaches. `gain` is the policy's accuracy less
    the line's height at the policy's spending, over the problems and seeds that all of them have. It is None when the
    policy spends less than the cheapest or more than the dearest point: the line is never drawn further (but in a
    resample that falls outside, the nearest point stands for it).
    """
    everyone = [cell, *frontier]
    keys = sorted(set(cell).intersection(*frontier)) if frontier else []
    keys = [key for key in keys if all(one[key]["verdict"] != "unknown" for one in everyone)]
    problems = sorted({problem for problem, _ in keys})
    index = {problem: row for row, problem in enumerate(problems)}
    sums = np.zeros((len(problems), 1 + 2 * len(everyone)))
    for key in keys:
        found = [[one[key]["spent"], one[key]["verdict"] == "right"] for one in everyone]
        sums[index[key[0]]] += np.array([1.0, *(value for pair in found for value in pair)], dtype=float)
    total = sums.sum(axis=0)
    empty: dict[str, Any] = {"gain": None, "gain_low": None, "gain_high": None, "spent": None, "n": len(problems)}
    if not keys:
        return empty
    spent = total[1::2] / total[0]
    empty["spent"] = float(spent[0])
    if not min(spent[1:]) <= spent[0] <= max(spent[1:]):
        return empty
    (low,), (high,) = _interval(sums, _gain)
    return {**empty, "gain": float(_gain(total)[0]), "gain_low": low, "gain_high": high}


def _gain(sums: Floats) -> Floats:
    """[..., 1 + 2 (1 + points)] sums -> [1, ...] gain over the line through the points."""
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
    return np.stack([height - line])


def _sums_by_problem(pairs: Sequence[tuple[Sample, Sample]]) -> Floats:
    """[problems, 4]: difference in right answers, pairs with known verdicts, tokens spent, the baseline's tokens."""
    problems = {problem: row for row, problem in enumerate(sorted({ours["problem"] for ours, _ in pairs}))}
    sums = np.zeros((len(problems), 4))
    for ours, theirs in pairs:
        known = "unknown" not in (ours["verdict"], theirs["verdict"])
        gain = int(ours["verdict"] == "right") - int(theirs["verdict"] == "right")
        sums[problems[ours["problem"]]] += (gain * known, known, ours["spent"], theirs["spent"])
    return sums


@dataclass(frozen=True, kw_only=True)
class _Estimate:
    value: float | None
    low: float | None = None
    high: float | None = None


def _ratio(above: Floats, below: Floats) -> _Estimate:
    """A ratio of sums over problems, both [problems], with its interval; a problem with nothing below is left out."""
    sums = np.stack([above, below], axis=-1)[below > 0]
    if not len(sums):
        return _Estimate(value=None)
    total = sums.sum(axis=0)
    (low,), (high,) = _interval(sums, lambda s: np.stack([s[..., 0] / s[..., 1]]))
    return _Estimate(value=float(total[0] / total[1]), low=low, high=high)


def _less(share: float | None) -> float | None:
    return None if share is None else 1.0 - share


def _interval(sums: Floats, statistic: Any) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Lower and upper bounds of a statistic of column sums, from a bootstrap over the rows of `sums`."""
    problems = len(sums)
    if problems < 2:
        nothing = (None,) * len(statistic(np.ones(sums.shape[1:])))
        return nothing, nothing

    def of_resample(rows: NDArray[np.int64], axis: int = -1) -> Floats:
        # A resample is how often each problem is drawn: counts times columns gives all sums in one matrix product.
        flat = rows.reshape(-1, problems) + problems * np.arange(rows.size // problems)[:, None]
        counts = np.bincount(flat.ravel(), minlength=flat.size).reshape(flat.shape)
        found: Floats = statistic((counts @ sums).reshape(*rows.shape[:-1], sums.shape[-1]))
        return found

    found = bootstrap(
        (np.arange(problems),), of_resample, n_resamples=RESAMPLES, batch=100, vectorized=True, axis=-1,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return tuple(map(float, found.low)), tuple(map(float, found.high))


def _accuracy_interval(samples: Sequence[Sample]) -> tuple[float | None, float | None]:
    """With one answer a problem Wilson's interval, which stays honest at 0 and 1; else a bootstrap over problems."""
    judged = [sample for sample in samples if sample["verdict"] != "unknown"]
    if not judged:
        return None, None
    problems = {problem: row for row, problem in enumerate(sorted({sample["problem"] for sample in judged}))}
    sums = np.zeros((len(problems), 2))
    for sample in judged:
        sums[problems[sample["problem"]]] += (sample["verdict"] == "right", 1)
    right = int(sums[:, 0].sum())
    if len(problems) == len(judged):
        wilson = binomtest(right, len(judged)).proportion_ci(LEVEL, method="wilson")
        return float(wilson.low), float(wilson.high)
    found = _ratio(sums[:, 0], sums[:, 1])
    return found.low, found.high


def _accuracy(samples: Sequence[Sample], which: str) -> float | None:
    verdicts = [sample[which] for sample in samples]
    judged = len(verdicts) - verdicts.count("unknown")
    return verdicts.count("right") / judged if judged else None


def _share(samples: Sequence[Sample], test: Any) -> float:
    return sum(bool(test(sample)) for sample in samples) / len(samples)

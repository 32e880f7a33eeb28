"""What training data will teach, seen before anything is trained: what was cut, what is wrong, what it may save."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from satisfice.core.builder import Pair, Part, Row
from satisfice.core.problem import Verdict
from satisfice.core.trace import Trace
from satisfice.training.rows import Encode, Encoded, encoded, rows_of

SHOWN = 48  # rows in the reader
NAMED = 20  # problems that are named where something is wrong


def audit(
    traces: Sequence[Trace],
    made: Sequence[Row] | Sequence[Pair],
    plain: Sequence[Row],
    encode: Encode,
    evaluated: Collection[str] = (),
) -> dict[str, Any]:
    """Return everything that a person should know of rows or pairs before training on them, as a JSON-able value.

    `plain` are the rows that `first-correct` makes of the same chains, to compare with. `evaluated` are the questions
    that models will be compared on.
    """
    rows = list(rows_of(made))
    tokens = {id(row): encoded(row, encode) if not row.question else encoded(_own(row), encode) for row in rows}
    learned = [one.chosen if isinstance(one, Pair) else one for one in made]
    right = [trace for trace in traces if trace.right]
    found: dict[str, Any] = {
        "chains": len(traces), "problems": len({trace.key[:2] for trace in traces}), "right": len(right),
        "cut_off": sum(not trace.whole for trace in traces),
        "makes": "pairs" if any(isinstance(one, Pair) for one in made) else "rows", "n": len(made),
        "problems_used": len({row.trace.key[:2] for row in rows}),
        "wrong": _wrong(learned), "duplicates": _duplicates(made), "leaked": _leaked(rows, evaluated),
        "trained_share": _trained(tokens.values()), "length": _lengths(learned, tokens), "cut": _cuts(learned),
        "effect": effect(traces, learned, tokens), "differs": differs(learned, plain, encode),
        "notes": dict(sorted(_counted(row.note.split(" ")[0] for row in learned if row.note).items())),
    }  # fmt: skip
    pairs = [one for one in made if isinstance(one, Pair)]
    if pairs:
        found["pairs"] = _pairs(pairs, tokens)
    return found


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Return in words what is wrong with the data, the worst first; none where nothing is."""
    told = []
    if n := len(found["leaked"]):
        told.append(f"{n} problems are among those that models are compared on: figures on them will be too good.")
    if found["wrong"]["n"]:
        told.append(f"{found['wrong']['n']} rows to be learned end in an answer that is not right.")
    pairs = found.get("pairs")
    if pairs and pairs["chosen_longer"]:
        told.append(
            f"In {pairs['chosen_longer']} of {found['n']} pairs the chosen row is longer than the rejected one."
        )
    if pairs and pairs["correlation"] is not None and abs(pairs["correlation"]) > 0.5:
        told.append(
            f"The difference in log-probability of a pair goes with its difference in length (correlation "
            f"{pairs['correlation']:+.2f}): a loss on summed log-probabilities will mostly learn length."
        )
    if found["duplicates"]:
        told.append(f"{found['duplicates']} rows are copies of another.")
    if found["differs"] and found["differs"]["rows"] == 0:
        told.append("Not one row differs from what first-correct makes of the same chains.")
    if found["n"] and found["cut"]["rows"] == 0 and found["makes"] == "rows":
        told.append("Nothing was cut from any chain: this will not make the model think shorter by what it leaves out.")
    return told


def effect(traces: Sequence[Trace], learned: Sequence[Row], tokens: Mapping[int, Encoded]) -> list[dict[str, Any]]:
    """Return, per task, what a model would spend that had learned the data perfectly; an estimate, no measurement.

    Each recorded chain of which a row was made (of several the mean) counts as that row, each other chain of a problem
    with a row as the mean of the problem's rows, any other as it is.
    """
    own: dict[int, list[int]] = {}
    problem: dict[tuple[str, str], list[int]] = {}
    for row in learned:
        size = len(tokens[id(row)].ids)
        own.setdefault(id(row.trace), []).append(size)
        problem.setdefault(row.trace.key[:2], []).append(size)
    told = []
    for task in sorted({trace.problem.task for trace in traces}):
        here = [trace for trace in traces if trace.problem.task == task and trace.source == traces[0].source]
        spent = [len(trace.ids) for trace in here]
        after = [
            float(np.mean(own.get(id(trace)) or problem.get(trace.key[:2]) or [size]))
            for trace, size in zip(here, spent, strict=True)
        ]
        if here:
            now, then = float(np.mean(spent)), float(np.mean(after))
            told.append({"task": task, "chains": len(here), "spent": now, "learned": then, "saving": 1 - then / now})
    return told


def differs(learned: Sequence[Row], plain: Sequence[Row], encode: Encode) -> dict[str, float] | None:
    """Return the share of rows, and of their tokens, in which a builder differs from `first-correct`.

    Rows of the same chain are compared; a row of a chain that the other makes none of differs as a whole. Tokens differ
    that stand between the beginning and the end that both have in common, what is trained on included. None: there is
    nothing to compare with.
    """
    if not learned or not plain:
        return None
    other = {id(row.trace): encoded(row, encode) for row in plain}
    rows, apart, size = 0, 0, 0
    for row in learned:
        one = encoded(_own(row) if row.question else row, encode)
        base = other.get(id(row.trace))
        a = list(zip(one.ids, one.trained, strict=True))
        b = [] if base is None else list(zip(base.ids, base.trained, strict=True))
        same = _common(a, b)
        rest = min(len(a), len(b)) - same
        same += min(rest, _common(a[::-1], b[::-1]))
        rows += bool(row.question) or a != b
        apart += len(a) + len(b) - 2 * same
        size += len(a) + len(b)
    return {"rows": rows / len(learned), "tokens": apart / size}


def shown(made: Sequence[Row] | Sequence[Pair], limit: int = SHOWN) -> list[dict[str, Any]]:
    """Return rows for a person to read, with what was cut, masked and put in: the most cut, the least, and others."""
    learned = sorted(
        (one.chosen if isinstance(one, Pair) else one for one in made), key=lambda row: (-_cut(row), row.trace.key)
    )
    rejected = {id(one.chosen): one.rejected for one in made if isinstance(one, Pair)}
    third = limit // 3
    middle = learned[third : len(learned) - third]
    step = max(1, len(middle) // max(1, limit - 2 * third))
    chosen = (
        learned
        if len(learned) <= limit
        else [*learned[:third], *middle[::step][: limit - 2 * third], *learned[-third:]]
    )
    found = []
    for row in chosen:
        one: dict[str, Any] = {
            "task": row.trace.problem.task, "problem": row.trace.problem.id, "question": row.trace.problem.question,
            "prompt": row.question, "note": row.note, "verdict": row.verdict.value, "cut": _cut(row),
            "chain": len(row.trace.ids), "size": row.size, "segments": segments(row),
        }  # fmt: skip
        if (other := rejected.get(id(row))) is not None:
            one["rejected"] = {"size": other.size, "verdict": other.verdict.value, "segments": segments(other)}
        found.append(one)
    return found


def segments(row: Row) -> list[dict[str, str]]:
    """Return a row as a person reads it: its parts in order, with what was cut from the chain between them.

    Kinds: `kept` (of the chain, trained on), `masked` (loss off), `cut` (of the chain, left out), `written` (put in).
    """
    told: list[dict[str, str]] = []
    place = 0

    def gone(end: int) -> None:
        if text := row.trace.text(place, end):
            told.append({"kind": "cut", "text": text})

    for part in row.parts:
        if part.begin is not None:
            gone(part.begin)
            place = part.begin + len(part.ids or ())
        elif part.ids is not None and place < row.trace.thinking:  # the answer: what is left of the thinking goes
            gone(row.trace.thinking)
            place = row.trace.thinking
        kind = "masked" if not part.trained else "kept" if part.begin is not None else "written"
        told.append({"kind": kind, "text": part.text})
    return told


def _own(row: Row) -> Row:
    """Return a row with the problem's own question, so that it can be encoded without the model's chat form."""
    return Row(trace=row.trace, parts=row.parts, verdict=row.verdict, note=row.note)


def _common(a: Sequence[Any], b: Sequence[Any]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _wrong(learned: Sequence[Row]) -> dict[str, Any]:
    wrong = [row.trace.problem.id for row in learned if row.verdict is not Verdict.RIGHT]
    return {"n": len(wrong), "problems": sorted(set(wrong))[:NAMED]}


def _duplicates(made: Sequence[Row] | Sequence[Pair]) -> int:
    forms = [(one.chosen.form, one.rejected.form) if isinstance(one, Pair) else one.form for one in made]
    return len(forms) - len(set(forms))


def _leaked(rows: Sequence[Row], evaluated: Collection[str]) -> list[str]:
    """Return the problems whose question is among those that models are compared on, but for case and spaces."""
    known = {" ".join(question.split()).casefold() for question in evaluated}
    problems = {row.trace.problem.id: row.trace.problem.question for row in rows}
    return sorted(i for i, question in problems.items() if " ".join(question.split()).casefold() in known)


def _trained(rows: Iterable[Encoded]) -> float | None:
    """Return the share of tokens that is trained on, prompts included."""
    on = size = 0
    for row in rows:
        on += sum(row.trained)
        size += len(row.prompt) + len(row.ids)
    return on / size if size else None


def _lengths(learned: Sequence[Row], tokens: Mapping[int, Encoded]) -> dict[str, float] | None:
    sizes = [len(tokens[id(row)].ids) for row in learned]
    if not sizes:
        return None
    low, middle, high = np.percentile(sizes, (10, 50, 90)).tolist()
    return {"mean": float(np.mean(sizes)), "p10": low, "p50": middle, "p90": high, "longest": max(sizes)}


def _kept(parts: Iterable[Part]) -> int:
    return sum(len(part.ids or ()) for part in parts if part.begin is not None)


def _cut(row: Row) -> int:
    """Return how many tokens of the thinking are not in the row."""
    inside = [part for part in row.parts if part.begin is not None and part.begin < row.trace.thinking]
    return row.trace.thinking - min(row.trace.thinking, _kept(inside))


def _cuts(learned: Sequence[Row]) -> dict[str, Any]:
    """Return how many rows leave some of the thinking out, how much, and in which tenth the first cut falls."""
    cut = [(row, n) for row in learned if (n := _cut(row))]
    tenths = [0] * 10
    for row, _ in cut:
        place = 0
        for part in row.parts:
            if part.begin is None or part.begin != place:
                break
            place = part.begin + len(part.ids or ())
        tenths[min(9, 10 * place // max(1, row.trace.thinking))] += 1
    thinking = sum(row.trace.thinking for row in learned)
    return {
        "rows": len(cut) / len(learned) if learned else 0.0,
        "tokens": sum(n for _, n in cut) / thinking if thinking else 0.0, "first_in_tenth": tenths,
    }  # fmt: skip


def _pairs(pairs: Sequence[Pair], tokens: Mapping[int, Encoded]) -> dict[str, Any]:
    gaps = [len(tokens[id(one.rejected)].ids) - len(tokens[id(one.chosen)].ids) for one in pairs]
    known = [(gap, margin) for gap, one in zip(gaps, pairs, strict=True) if (margin := _margin(one)) is not None]
    correlation = None
    if len(known) > 2:
        x, y = np.array(known).T
        correlation = None if min(x.std(), y.std()) == 0 else float(np.corrcoef(x, y)[0, 1])
    return {
        "chosen_longer": sum(gap < 0 for gap in gaps), "same_length": sum(gap == 0 for gap in gaps),
        "gap": float(np.mean(gaps)), "correlation": correlation, "with_margin": len(known),
        "rejected_right": sum(one.rejected.verdict is Verdict.RIGHT for one in pairs),
    }  # fmt: skip


def _margin(pair: Pair) -> float | None:
    """Return how much likelier the model found the chosen row than the rejected one when it wrote them, nats."""
    sums = [_logprob(pair.chosen), _logprob(pair.rejected)]
    return None if sums[0] is None or sums[1] is None else sums[0] - sums[1]


def _logprob(row: Row) -> float | None:
    """Return the log-probability of what the model itself wrote of a row; None where it was not recorded."""
    total, own = 0.0, row.trace.logprobs
    for part in row.parts:
        if part.begin is not None and part.ids is not None:
            if own is None:
                return None
            total += sum(own[part.begin : part.begin + len(part.ids)])
        elif part.ids is not None:
            look = next((look for look in row.trace.looks if look.ids == part.ids and look.logprobs), None)
            if look is None or look.logprobs is None:
                return None
            total += sum(look.logprobs)
    return total


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts

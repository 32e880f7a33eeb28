"""What every builder of training data must be able to do, checked on small sets of recorded chains."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from satisfice.core.builder import Builder, Pair, Row, ending
from satisfice.core.fit import asks
from satisfice.core.trace import Trace, provided
from satisfice.testing.method import claim
from satisfice.testing.traces import random_traces, trace


def check_builder(builder: Builder) -> None:
    """Check what a builder does.

    Raises:
        Faulty: rows that change from call to call or with the order of the chains, that hold tokens the chain does not
            have there, train nothing, or make a model believe that a wrong answer is right; pairs of two problems, of
            one and the same row, or that do not say what they hold constant; a need that is not declared.
    """
    claim(builder.makes in ("rows", "pairs"), builder, "must say in `makes` what it makes: rows or pairs")
    claim(
        bool(builder.constant) == (builder.makes == "pairs"), builder, "says in `constant` what its pairs hold constant"
    )
    for where, traces in sets():
        made = builder(traces)
        form = forms(made)
        claim(form == forms(builder(traces)), builder, f"is not deterministic ({where})")
        claim(form == forms(builder(traces[::-1])), builder, f"depends on the order of the chains ({where})")
        for one in made:
            if isinstance(one, Pair):
                _check_pair(builder, one, where)
            for row in (one.chosen, one.rejected) if isinstance(one, Pair) else (one,):
                claim(builder.makes == "pairs" or isinstance(one, Row), builder, f"makes pairs, not rows ({where})")
                _check_row(builder, row, traces, where)
    missing = {one.name for one in asks(builder, "data")} - provided(random_traces(0))
    claim(not missing, builder, f"asks for what no recording gives: {', '.join(sorted(missing))}")


def sets() -> Iterator[tuple[str, list[Trace]]]:
    """Yield sets of chains with what is hard about each."""
    yield "no chains", []
    yield "one chain", [trace("1+3=4\nso 4\n", "Wait, 4 ok\n")]
    yield "no thinking", [trace("", problem="none")]
    yield "no looks", [replace(one, looks=()) for one in random_traces(5)]
    for name, verdicts in (("all right", "rrr"), ("all wrong", "www"), ("all unknown", "uuu"), ("spoiled", "rrw")):
        yield name, [trace("1+3=4\nso 4\n", "Wait, 4\n", "Check, 4\n", verdicts=verdicts, name=n) for n in "01"]
    yield "all cut off", [trace("1+3=4\nso 4\n", "Wait, 4\n", ended="limit", name=n) for n in "01"]
    for seed in range(4):
        yield f"random {seed}", random_traces(seed)


def forms(made: Sequence[Row] | Sequence[Pair]) -> list[object]:
    """Return what makes rows or pairs the same ones, in their order."""
    return [(one.chosen.form, one.rejected.form) if isinstance(one, Pair) else one.form for one in made]


def _check_pair(builder: Builder, pair: Pair, where: str) -> None:
    one, other = pair.chosen, pair.rejected
    claim(one.trace.key[:2] == other.trace.key[:2], builder, f"pairs chains of two problems ({where})")
    claim(one.form != other.form, builder, f"prefers a row to itself ({where})")
    claim(one.verdict.value == "right", builder, f"chooses an answer that is not right ({where})")


def _check_row(builder: Builder, row: Row, traces: Sequence[Trace], where: str) -> None:
    claim(any(row.trace is one for one in traces), builder, f"makes rows of chains that it was not given ({where})")
    claim(bool(row.parts) and any(part.trained for part in row.parts), builder, f"trains on nothing ({where})")
    claim(row.trace.whole, builder, f"takes a chain that was cut off for a whole one ({where})")
    claim(builder.makes == "pairs" or row.verdict.value == "right", builder, f"trains on a wrong answer ({where})")
    reached = 0
    for part in row.parts:
        claim(bool(part.text or part.ids), builder, f"has an empty part ({where})")
        if part.begin is None:
            continue
        claim(part.ids is not None and part.begin >= reached, builder, f"mixes up the order of a chain ({where})")
        reached = part.begin + len(part.ids or ())
        own = row.trace.ids[part.begin : reached]
        claim(part.ids == own, builder, f"has tokens that the chain has not at {part.begin} ({where})")
    last = row.parts[-1]
    ends = [ending(row.trace, look)[-1] for look in (None, *row.trace.looks)]
    fits = any(last.ids and one.ids and last.ids[-len(one.ids) :] == one.ids for one in ends)
    claim(fits and last.trained, builder, f"does not end in an answer that the model gave ({where})")

"""Every builder against the battery, and what holds for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.catalog import build
from satisfice.core.builder import BUILDER, Builder, Pair, Part, Row, whole
from satisfice.core.card import Card
from satisfice.core.problem import Verdict
from satisfice.core.trace import Trace
from satisfice.methods.tuning import FAMILY
from satisfice.methods.tuning.first_correct import FirstCorrect
from satisfice.methods.tuning.first_correct_plus_one import FirstCorrectPlusOne
from satisfice.methods.tuning.step_mask import StepMask
from satisfice.testing import Faulty, check_method, random_traces, trace
from satisfice.testing.builders import forms

SETTINGS = (
    "first-correct(samples=shortest)", "first-correct-plus-one(samples=shortest)", "first-correct(at=any)",
    "first-correct(at=stated)", "first-correct-plus-one(at=stated)",
    "self-braking-exact(threshold=0.0)", "self-braking-exact(threshold=0.0, brake_first=true, masked=0)",
    "self-braking-dynamic(threshold=0.0, margin=0.0)", "first-try-data(candidates=2, more_than=1)",
    "first-try-data(candidates=1, more_than=0, tokens=100)", "recut(aim=accuracy)", "recut(reject=longest)",
    "step-mask(cut=true)", "thought-mask(improved=true)", "dualformer(level_1=0.5, level_2=0.25, level_3=0.2)",
    "concise-data(threshold=0.5)", "concise-pairs(threshold=0.3)", "pir(ratio=0.7, corrections=true)",
    "pir(unit=solution, ratio=1.0)", "short-long(gap=0.3)",
)  # fmt: skip


@pytest.mark.parametrize("spec", [*FAMILY.methods, *SETTINGS])
def test_it_passes_the_battery(spec: str) -> None:
    check_method(build(spec, BUILDER))


@pytest.mark.parametrize("spec", [*FAMILY.methods, *SETTINGS])
def test_it_makes_something_of_ordinary_chains(spec: str) -> None:
    """A battery that is passed by doing nothing shows nothing."""
    long = [trace("so 4\n", *["Wait, 4\n"] * 8, problem=p, certainty=[0.99] * 8) for p in ("a", "b")]
    more = [replace(one, absence=tuple((b, e, -1.0) for b, e in one.steps)) for one in long]
    made = build(spec, BUILDER)([*random_traces(1, problems=8, chains=4), *more])
    assert made
    assert {type(one) for one in made} == {Pair if build(spec, BUILDER).makes == "pairs" else Row}


def rows_of(made: Sequence[Row] | Sequence[Pair]) -> list[Row]:
    return [row for one in made for row in ((one.chosen, one.rejected) if isinstance(one, Pair) else (one,))]


def spans(row: Row) -> list[tuple[int, int, bool]]:
    return [(p.begin, p.begin + len(p.ids or ()), p.trained) for p in row.parts if p.begin is not None]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_parts_of_a_chain_never_overlap_and_tokens_are_in_one_of_them_or_left_out(seed: int) -> None:
    traces = random_traces(seed, problems=2, chains=2)
    for method in FAMILY.methods.values():
        for row in rows_of(method()(traces)):
            found = spans(row)
            assert all(a[1] <= b[0] for a, b in pairwise(found))
            left_out = len(row.trace.ids) - sum(end - begin for begin, end, _ in found)
            assert 0 <= left_out < len(row.trace.ids)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_no_token_is_trained_on_that_the_source_marks_wrong(seed: int) -> None:
    for row in StepMask()(random_traces(seed, problems=2, chains=2)):
        wrong = [(one.begin, one.end) for one in row.trace.solutions if one.verdict is not Verdict.RIGHT]
        trained = {at for begin, end, on in spans(row) if on for at in range(begin, end)}
        assert not trained & {at for begin, end in wrong for at in range(begin, end)}
        assert sum(len(p.ids or ()) for p in row.parts) == len(row.trace.ids)  # all stays in context


def again(row: Row) -> Trace:
    """Return a row as if the model had written it."""
    kept = [p for p in row.parts if p.begin is not None and p.begin < row.trace.thinking]
    size = sum(len(p.ids or ()) for p in kept)
    looks = tuple(look for look in row.trace.looks if look.at < size)
    whole_row = row.parts[-1].begin is not None
    closing = row.trace.ids[row.trace.thinking]
    ids = row.trace.ids if whole_row else (*row.trace.ids[:size], closing, *(row.parts[-1].ids or ()))
    pieces = row.trace.pieces if whole_row else (*row.trace.pieces[:size], "</think>", row.parts[-1].text, "")
    return replace(row.trace, ids=ids, pieces=tuple(pieces), thinking=min(size, row.trace.thinking), looks=looks)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([FirstCorrect(), FirstCorrectPlusOne()]))
def test_what_is_cut_once_is_not_cut_again(seed: int, builder: Builder) -> None:
    rows = [row for row in builder(random_traces(seed, problems=2, chains=2)) if isinstance(row, Row)]
    for row in rows:
        (second,) = builder([again(row)])
        assert isinstance(second, Row)
        assert second.form == whole(second.trace).form


def test_the_battery_sees_what_a_builder_does_wrong() -> None:
    def faulty(call: Any, **more: Any) -> Builder:
        @dataclass(frozen=True, kw_only=True)
        class Mine:
            card: ClassVar = Card(id="mine", paper="", where="here", needs=frozenset(), fidelity="standard")
            makes: ClassVar = more.get("makes", "rows")
            constant: ClassVar = more.get("constant", "")

            def __call__(self, traces: Sequence[Trace]) -> Any:
                return call([one for one in traces if one.whole])

        return Mine()

    def off(one: Trace) -> Row:
        return Row(trace=one, parts=(replace(whole(one).parts[0], trained=False),), verdict=one.verdict)

    def other(one: Trace) -> Row:
        return Row(trace=one, parts=(Part(text="x", ids=(9,), begin=0), *whole(one).parts), verdict=one.verdict)

    def right(traces: list[Trace]) -> list[Trace]:
        return sorted((one for one in traces if one.right), key=lambda one: one.key)

    BUILDER.check(faulty(lambda traces: [whole(one) for one in right(traces)]))
    for told, call, more in (
        ("trains on a wrong answer", lambda traces: [whole(one) for one in sorted(traces, key=lambda t: t.key)], {}),
        ("depends on the order", lambda traces: [whole(one) for one in traces if one.right], {}),
        ("trains on nothing", lambda traces: [off(one) for one in right(traces)], {}),
        ("mixes up the order|has tokens", lambda traces: [other(one) for one in right(traces)], {}),
        ("makes pairs, not rows", lambda t: [Pair(chosen=whole(x), rejected=off(x)) for x in right(t)], {}),
        ("prefers a row to itself", lambda t: [Pair(chosen=whole(x), rejected=whole(x)) for x in right(t)],
         {"makes": "pairs", "constant": "all"}),
        ("says in `constant`", lambda traces: [], {"makes": "pairs"}),
    ):  # fmt: skip
        with pytest.raises(Faulty, match=told):
            BUILDER.check(faulty(call, **more))


def test_rows_of_one_recording_are_the_same_whoever_else_is_there() -> None:
    """What is drawn for a chain belongs to it."""
    some, others = random_traces(3, problems=2), random_traces(4, problems=2)
    others = [replace(one, problem=replace(one.problem, id="other" + one.problem.id)) for one in others]
    for name in ("dualformer", "recut", "adar1", "first-correct"):
        builder = build(name, BUILDER)
        ours = [r for r in rows_of(builder([*some, *others])) if not r.trace.problem.id.startswith("other")]
        assert [row.form for row in ours] == [row.form for row in rows_of(builder(some))]
        assert forms(builder(some)) == forms(builder(some[::-1]))

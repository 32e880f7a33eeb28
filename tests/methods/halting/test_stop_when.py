"""Conditions on metrics: what they say, that they are read and never run, and errors with a way out."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.catalog import build, canonical
from satisfice.core.errors import BadInput
from satisfice.core.halter import HALTER, Observation
from satisfice.methods.halting.stop_when import StopWhen, parse

numbers = st.sampled_from(["-0.01", "0", "1e-3", ".5", "+2", "0.005"])
simple = st.builds(
    lambda name, sign, number: f"{name} {sign} {number}",
    st.sampled_from(["net", "gain"]), st.sampled_from(["<", "<=", ">", ">="]), numbers,
)  # fmt: skip
conditions = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(lambda a, b: f"({a}) or {b}", inner, inner), st.builds(lambda a, b: f"{a} and ({b})", inner, inner),
        st.builds(lambda a: f"not ({a})", inner),
    ),
    max_leaves=6,
)  # fmt: skip


def seen(**metrics: float) -> Observation:
    return Observation(at=7, metrics=metrics)


@given(conditions, st.floats(-1, 1), st.floats(-1, 1))
def test_a_condition_says_what_python_would_say(text: str, net: float, gain: float) -> None:
    expected = eval(text, {"__builtins__": {}}, {"net": net, "gain": gain})
    assert parse(text).holds(seen(net=net, gain=gain)) is bool(expected)


@pytest.mark.parametrize(
    ("net", "gain", "stop"), [(-0.02, 1, True), (0, 0.001, True), (0, 0.005, False), (-0.01, 0.1, False)]
)
def test_the_default_stops_where_accuracy_falls_or_nothing_is_left_to_gain(net: float, gain: float, stop: bool) -> None:
    halter = StopWhen()
    _, decision = halter(halter.init(), seen(net=net, gain=gain))
    assert decision.stop is stop
    assert decision.metrics == {"net": net, "gain": gain}
    assert decision.why == (f"net<-0.01 or gain<0.005 (net is {net:.4g}, gain is {gain:.4g})" if stop else "")


def test_and_binds_tighter_than_or_and_step_is_how_far_the_run_is() -> None:
    assert parse("net<0 or gain<0 and gain>0").holds(seen(net=-1, gain=0))
    assert not parse("(net<0 or gain<0) and gain>0").holds(seen(net=-1, gain=0))
    assert parse("step>=7").holds(seen(net=0))
    assert parse("eval/loss<1").holds(Observation(at=1, metrics={"eval/loss": 0.5}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a metric, got the end"), ("net", "expected <, <=, > or >=, got the end"),
        ("net<", "expected a number, got the end"), ("net<gain", "expected a number, got 'gain'"),
        ("net==1", "'==1' cannot be read"), ("net<1 or", "expected a metric, got the end"),
        ("(net<1", "expected a closing parenthesis"), ("net<1 net<2", "expected and, or, or the end, got 'net'"),
        ("or<1", "expected a metric, got 'or'"), ("__import__('os')", "expected <, <=, > or >=, got '\\('"),
        ("net<1;1", "';1' cannot be read"), ("(" * 30 + "net<1" + ")" * 30, "at most 20 deep"),
        ("not " * 30 + "net<1", "at most 20 deep"), ("net<1 or " * 100 + "net<1", "characters are too many"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_an_example(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        StopWhen(condition=text)


@given(st.text(max_size=60) | st.text(alphabet="netgai<>=()or d.-01", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadInput):
        parse(text)


def test_a_metric_that_is_not_there_is_named() -> None:
    halter: Any = StopWhen(condition="lost>0.1")
    with pytest.raises(BadInput, match=r"no metric 'lost', only gain, net\."):
        halter(halter.init(), seen(net=0, gain=1))


def test_it_has_a_spec() -> None:
    halter = StopWhen(condition="net<-0.02")
    assert canonical(halter) == 'stop-when(condition="net<-0.02")'
    assert build(canonical(halter), HALTER) == halter

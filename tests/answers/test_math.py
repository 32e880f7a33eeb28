import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.answers.math import MAX_CHARS, Grader, same, verify, verify_async
from satisfice.core.errors import SatisficeError
from satisfice.core.problem import Verdict

RIGHT, WRONG, UNKNOWN = Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("12", "12", RIGHT),
        (" 12. ", "12", RIGHT),
        ("12.0", "12", RIGHT),
        ("+1,234", "1234", RIGHT),
        ("0012", "12", RIGHT),
        ("2/4", "0.5", RIGHT),
        ("1.2e1", "12", RIGHT),
        ("13", "12", WRONG),
        (r"\frac{1}{2}", "0.5", RIGHT),
        (r"\frac{1}{3}", "0.5", WRONG),
        (r"2\sqrt{3}", r"\sqrt{12}", RIGHT),
        ("(x+1)^2", "x^2+2x+1", RIGHT),
        (r"50\%", "0.5", RIGHT),
        ("12 apples", "12", RIGHT),
        ("$12$", "12", RIGHT),
        (r"\text{yes}", "Yes", RIGHT),
        ("Paris", "pairs", WRONG),  # the same letters are not the same word
        ("Paris", "paris", RIGHT),
        ("12", "Paris", WRONG),
        ("1/0", "12", WRONG),
        ("", "12", WRONG),
        (None, "12", WRONG),
        ("}{", "12", WRONG),
        ("x" * (MAX_CHARS + 1), "12", WRONG),
        ("xy", "yx", RIGHT),
        ("12", "?!", WRONG),
        ("12", "", UNKNOWN),  # a reference that nobody can read
    ],
)
def test_verify(answer: str | None, gold: str, verdict: Verdict) -> None:
    assert verify(answer, gold) is verdict
    assert asyncio.run(verify_async(answer, gold)) is verdict


@pytest.mark.parametrize(("a", "b"), [(None, None), ("", ""), (None, "1"), (" ", " "), ("1", "2"), ("a", None)])
def test_nothing_agrees_with_no_answer(a: str | None, b: str | None) -> None:
    assert not same(a, b)


@given(a=st.integers(), b=st.integers())
def test_integers_are_the_same_exactly_when_equal(a: int, b: int) -> None:
    assert same(str(a), str(b)) == (a == b)
    assert same(f"{a:,}", f"{a}.0")


@given(st.sampled_from(["1/2", "0.5", r"\frac12", "x+1", "1+x", "7", "seven", "0.3333", "1/3"]), st.data())
def test_same_is_symmetric_and_reflexive(a: str, data: st.DataObject) -> None:
    b = data.draw(st.sampled_from(["1/2", r"\frac{2}{4}", "x+1", "7.0", "SEVEN", "0.333333333"]))
    assert same(a, a)
    assert same(a, b) == same(b, a)


# A worker that speaks the protocol and does as it is told: it compares honestly, hangs, dies, or talks nonsense.
UNRULY = """
import json, os, sys, time
print("ready", flush=True)
for line in sys.stdin:
    answer, gold = json.loads(line)
    if answer == "hang!": time.sleep(600)
    if answer == "crash!": os._exit(13)
    print("nonsense" if answer == "nonsense!" else json.dumps(answer == gold), flush=True)
"""


@pytest.fixture
def unruly() -> Iterator[Grader]:
    grader = Grader(patience_s=0.5, command=[sys.executable, "-c", UNRULY])
    yield grader
    grader.close()


@pytest.mark.parametrize("misdeed", ["hang!", "crash!", "nonsense!"])
def test_a_misbehaving_worker_gives_unknown_and_harms_nobody_else(unruly: Grader, misdeed: str) -> None:
    assert unruly.verify("x+2", "x+1") is WRONG
    assert unruly.verify(misdeed, "x+1") is UNKNOWN
    assert unruly.verify("x+2", "x+1") is WRONG


def test_others_get_their_verdicts_while_one_hangs_and_the_event_loop_goes_on(unruly: Grader) -> None:
    async def main() -> tuple[list[Verdict], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        clock = asyncio.create_task(tick())
        asked = ("x+2", "crash!", "hang!", "x+3")
        verdicts = await asyncio.gather(*(unruly.verify_async(answer, "x+1") for answer in asked))
        clock.cancel()
        return verdicts, ticks

    verdicts, ticks = asyncio.run(main())
    assert verdicts == [WRONG, UNKNOWN, UNKNOWN, WRONG]
    assert ticks > 10  # half a second of hanging is about fifty


def test_an_expression_that_takes_for_ever_is_unknown() -> None:
    grader = Grader(limit_s=2)
    try:
        assert grader.verify("9^{9^{9^{9}}}-9^{9^{9^{9}}}+x", "x^{2}+1") is not RIGHT
        assert grader.verify(r"\prod_{k=1}^{99999999} k", "x^{2}+1") is UNKNOWN
        assert grader.verify("x+1+x", "2x+1") is RIGHT
    finally:
        grader.close()


def test_a_worker_that_cannot_start_is_an_error_and_no_verdict() -> None:
    grader = Grader(command=[sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(SatisficeError, match="did not start"):
        grader.verify("x", "y+1")
    grader.close()


def test_the_worker_goes_when_its_parent_is_killed() -> None:
    script = (
        "from satisfice.answers import math; import os; math.verify('x+1', 'x+2');"
        "print(math._grader(os.getpid())._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    worker = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout)
    deadline = time.monotonic() + 60
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

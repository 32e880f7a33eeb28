import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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


# A grader does as its answers say: it compares honestly, hangs, ends the process, or fails.
UNRULY = """
import os, time

def equal(answer, gold):
    if "hang" in answer: time.sleep(600)
    if "crash" in answer: os._exit(13)
    if "burn" in answer:
        while True: pass
    if "fail" in answer: raise KeyError(object())
    return answer == gold

def readable(gold): return "bad" not in gold
def load(): pass
def broken(): raise RuntimeError
"""


@pytest.fixture
def unruly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grader]:
    (tmp_path / "unruly.py").write_text(UNRULY)
    monkeypatch.syspath_prepend(str(tmp_path))  # the child imports it by its name
    import unruly  # type: ignore[import-not-found]

    grader = Grader(limit_s=1, patience_s=4, equal=unruly.equal, readable=unruly.readable, load=unruly.load)
    yield grader
    grader.close()
    del sys.modules["unruly"]


@pytest.mark.parametrize(
    ("misdeed", "verdict", "of_a_bad_reference"),
    [
        ("hang+x", UNKNOWN, UNKNOWN),  # the grader is to blame
        ("crash+x", UNKNOWN, UNKNOWN),
        ("fail+x", WRONG, UNKNOWN),  # the answer is, unless the reference is
        ("burn+x", WRONG, UNKNOWN),
    ],
)
def test_what_the_answer_causes_is_wrong_and_what_the_grader_or_the_reference_causes_is_unknown(
    unruly: Grader, misdeed: str, verdict: Verdict, of_a_bad_reference: Verdict
) -> None:
    assert unruly.verify("x+2", "x+1") is WRONG
    assert unruly.verify(misdeed, "x+1") is verdict
    assert unruly.verify("x+2", "x+1") is WRONG
    assert unruly.verify(misdeed, "bad+x") is of_a_bad_reference


def test_a_reference_that_cannot_be_read_costs_one_new_process_and_no_more(unruly: Grader) -> None:
    assert unruly.verify("fail+x", "bad+x") is UNKNOWN
    assert unruly.verify("crash+x", "bad+x") is UNKNOWN  # not asked any more
    begin = time.monotonic()
    assert [unruly.verify(f"hang+{n}", "bad+x") for n in range(200)] == [UNKNOWN] * 200
    assert time.monotonic() - begin < 4  # the patience for one


def test_others_get_their_verdicts_while_one_hangs_and_the_event_loop_goes_on(unruly: Grader) -> None:
    async def main() -> tuple[list[Verdict], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        clock = asyncio.create_task(tick())
        asked = ("x+2", "crash+x", "hang+x", "x+3")
        verdicts = await asyncio.gather(*(unruly.verify_async(answer, "x+1") for answer in asked))
        clock.cancel()
        return verdicts, ticks

    verdicts, ticks = asyncio.run(main())
    assert verdicts == [WRONG, UNKNOWN, UNKNOWN, WRONG]
    assert ticks > 10  # half a second of hanging is about fifty


def test_an_expression_that_takes_for_ever_is_wrong_and_a_reference_that_does_is_unknown() -> None:
    grader = Grader(limit_s=3)
    try:
        for answer in (r"\prod_{k=1}^{99999999} k", "2^{2^{2^{2^{2^{2}}}}}", "9^{9^{9^{9}}}-9^{9^{9^{9}}}+x"):
            assert grader.verify(answer, "x^{2}+1") is WRONG
        assert grader.verify("x+1+x", "2x+1") is RIGHT
        assert [grader.verify(f"x+{n}", r"\prod_{k=1}^{99999999} k") for n in range(3)] == [UNKNOWN] * 3
        assert [grader.verify(f"{n}", "0/0") for n in range(3)] == [UNKNOWN] * 3
    finally:
        grader.close()


def test_a_worker_that_cannot_start_is_an_error_and_no_verdict(unruly: Grader) -> None:
    grader = Grader(load=sys.modules["unruly"].broken)
    with pytest.raises(SatisficeError, match="did not start"):
        grader.verify("x", "y+1")
    grader.close()


def test_a_worker_that_was_killed_between_two_answers_is_replaced(unruly: Grader) -> None:
    assert unruly.verify("x+2", "x+1") is WRONG
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, 9)
    assert unruly.verify("x+2", "x+1") in (WRONG, UNKNOWN)
    assert unruly.verify("x+2", "x+1") is WRONG


@pytest.mark.parametrize("busy", [False, True])
def test_the_worker_goes_when_its_parent_is_killed(tmp_path: Path, busy: bool) -> None:
    (tmp_path / "unruly.py").write_text(UNRULY)
    script = tmp_path / "script.py"  # without a guard: the worker must not import it
    script.write_text(
        "import multiprocessing, os, sys, threading, time, unruly\n"
        "from satisfice.answers import Grader\n"
        "grader = Grader(equal=unruly.equal, readable=unruly.readable, load=unruly.load)\n"
        "grader.verify('x+1', 'x+2')\n"
        "hang = threading.Thread(target=grader.verify, args=('hang+x', 'x+2'), daemon=True)\n"
        f"if {busy}: hang.start(); time.sleep(1)\n"
        "print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    workers = subprocess.run([sys.executable, script], capture_output=True, text=True).stdout.split()
    assert len(workers) == 1
    deadline = time.monotonic() + 60
    while _alive(int(workers[0])):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

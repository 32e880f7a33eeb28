"""The loop guard: what counts as repetition, and that sound chains are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.loop_guard import LoopGuard, repeated


@pytest.mark.parametrize(
    ("ids", "times", "least", "pattern"),
    [
        ([9, 1, 2, 1, 2, 1, 2], 3, 1, 2),
        ([9, 1, 2, 1, 2, 1, 2], 4, 1, 0),
        ([9, 1, 2, 1, 2, 1, 2], 3, 6, 2),
        ([9, 1, 2, 1, 2, 1, 2], 3, 7, 0),
        ([2, 1, 2, 1, 2, 1, 2], 3, 7, 2),  # the pattern may begin in its middle
        ([5, 5, 5, 5], 4, 1, 1),
        ([1, 2, 3], 2, 1, 0),
        ([], 2, 1, 0),
    ],
)
def test_repetition(ids: list[int], times: int, least: int, pattern: int) -> None:
    assert repeated(ids, times=times, longest=4, least=least) == pattern


@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(2, 4))
def test_what_is_repeated_is_found_and_what_is_found_is_repeated(start: list[int], loop: list[int], times: int) -> None:
    ids = start + loop * times
    found = repeated(ids, times=times, longest=5)
    assert 0 < found <= len(loop)
    assert ids[-found * times :] == ids[-found:] * times


@given(st.lists(st.integers(0, 1), max_size=40), st.integers(2, 4), st.integers(1, 12))
def test_nothing_is_found_that_is_not_there(ids: list[int], times: int, least: int) -> None:
    found = repeated(ids, times=times, longest=6, least=least)
    there = [
        size
        for size in range(1, 7)
        if (need := max(times * size, least)) <= len(ids)
        and all(ids[-i] == ids[-i - size] for i in range(1, need - size + 1))
    ]
    assert found == min(there, default=0)


def test_a_chain_that_loops_is_ended_and_answers() -> None:
    def loop(so_far: str, request: Request) -> str:
        if "</think>" in so_far:
            return END if so_far.endswith("4") else "4"
        return "begin " if not so_far else "again and "[len(so_far.removeprefix("begin ")) % len("again and ") :]

    solution = play(LoopGuard(), loop)
    assert (solution.ended, solution.text) == ("rule", "4")
    assert solution.ledger.kept == 48 + 2, "a pattern of 4 fills 32 tokens after the first 2: seen at the next search"
    assert looks(solution) == [4]
    assert play(Full(), loop).ended == "limit"


def test_a_chain_that_does_not_loop_is_left_alone_token_for_token() -> None:
    story = "".join(f"step {n} is {n * 7}\n" for n in range(40)) + "</think>4"
    assert play(LoopGuard(), story).spans == play(Full(), story).spans

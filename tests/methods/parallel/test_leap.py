"""LeaP: whom a chain hears, what it is shown, and what is cut and dropped on the way."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.parallel.stage import play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.parallel.leap import ALONE, Leap, comment, common_subsequence, route, similarity, tag_rest
from satisfice.methods.stopping.fixed_budget import FixedBudget


def test_worked_example() -> None:
    assert (common_subsequence("x = 4", "x = 5"), common_subsequence("x = 4", "use parity")) == (4, 1)
    assert similarity("x = 4", "x = 5") == pytest.approx(0.8)
    assert similarity("x = 4", "use parity") == pytest.approx(0.1333, abs=1e-4)
    assert route("x = 4", ["x = 5", "use parity"], 1) == [1]


def slow(a: str, b: str) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        new = [0]
        for j, y in enumerate(b):
            new.append(row[j] + 1 if x == y else max(row[j + 1], new[-1]))
        row = new
    return row[-1]


@given(st.text("abc ", max_size=40), st.text("abc ", max_size=40))
def test_the_common_subsequence_is_that_of_the_plain_algorithm(a: str, b: str) -> None:
    assert common_subsequence(a, b) == slow(a, b)
    assert 0 <= similarity(a, b) == similarity(b, a) <= 1


def test_the_four_ways_to_choose_peers() -> None:
    others = ["aaaa", "aabb", "bbbb", "aaab"]
    assert route("aaaa", others, 2) == [2, 1]
    assert route("aaaa", others, 2, "clustered") == [0, 3]
    assert route("aaaa", others, 2, "hybrid") == [2, 0]
    drawn = {tuple(route("aaaa", others, 2, "random", key)) for key in range(40)}
    assert len(drawn) > 3
    assert all(len(set(one)) == 2 for one in drawn)
    assert route("aaaa", others, 9) == [2, 1, 3, 0], "no more than there are"


def test_of_equally_alike_peers_the_first_comes_first() -> None:
    for how in ("dispersed", "clustered"):
        assert route("x", ["same", "same", "same"], 2, how) == [0, 1]  # type: ignore[arg-type]
    assert route("x", ["same"] * 4, 3, "hybrid") == [0, 1, 2]


def test_hybrid_shows_a_peer_twice_only_as_the_code_does() -> None:
    assert route("aaaa", ["bbbb"], 2, "hybrid") == [0]
    assert route("aaaa", ["bbbb"], 2, "hybrid", repeats=True) == [0, 0]
    assert route("aaaa", ["bbbb", "aabb"], 3, "hybrid") == [0, 1]
    assert route("aaaa", ["bbbb", "aabb"], 3, "hybrid", repeats=True) == [0, 1, 0]


@settings(max_examples=200)
@given(st.text("ab", max_size=6), st.lists(st.text("ab", max_size=6), max_size=6), st.integers(1, 6))
def test_nobody_is_heard_twice(own: str, others: list[str], k: int) -> None:
    for how in ("dispersed", "clustered", "hybrid", "random"):
        heard = route(own, others, k, how)  # type: ignore[arg-type]
        assert len(heard) == len(set(heard)) == min(k, len(others))


@settings(max_examples=200)
@given(st.text("ab </", max_size=8), st.integers(0, 12))
def test_a_summary_always_ends_in_its_tag(text: str, part: int) -> None:
    said = text + "</summarize>"[:part]
    assert (said + tag_rest(said)).endswith("</summarize>")


@pytest.mark.parametrize(("max_turns", "exchanges"), [(1, 1), (2, 1), (3, 2), (4, 3), (6, 5)])
def test_exchanges_are_one_fewer_than_turns_but_one_at_least(max_turns: int, exchanges: int) -> None:
    turn = 10
    solution, _ = play(Leap(n=2, turn=turn, max_turns=max_turns), never)
    assert solution.thinking.count("<comment>") == solution.thinking.count("<summarize>") == exchanges
    assert len(re.findall("z" * turn, solution.thinking)) == max_turns, "as many turns of thinking as asked for"
    assert solution.thinking.rstrip().endswith("z") is (max_turns > 1), "nothing is summed up after the last thinking"


@settings(max_examples=200)
@given(st.integers(1, 12), st.integers(2, 4), st.integers(2, 12), st.integers(1, 4))
def test_exchanges_follow_from_the_turns_whatever_else_is_set(max_turns: int, n: int, turn: int, peers: int) -> None:
    solution, _ = play(Leap(n=n, turn=turn, max_turns=max_turns, peers=peers), never)
    assert solution.thinking.count("<comment>") == solution.thinking.count("<summarize>") == max(max_turns - 1, 1)


def test_thinking_that_ends_inside_a_summary_goes_on() -> None:
    def eager(so_far: str, request: Request) -> Any:
        if so_far.endswith("</think>"):
            return "9"
        if "</think>" in so_far:
            return END
        return "</think>" if so_far.rfind("<summarize>") > so_far.rfind("</summarize>") else "z "

    solution, _ = play(Leap(n=2, turn=10, max_turns=2), eager)
    assert (solution.text, solution.thinking.count("... </summarize>"), solution.ended) == ("9", 1, "rule")


def never(so_far: str, request: Request) -> Any:
    """Thinks for ever, and sums up nothing."""
    if "</think>" in so_far:
        return END if not so_far.endswith("</think>") else "9"
    return "</summarize>" if so_far.rfind("<summarize>") > so_far.rfind("</summarize>") else "z "


def thinker(so_far: str, request: Request) -> Any:
    """Thinks in paragraphs until it has been told something by a peer, then ends; sums up when asked to."""
    if "</think>" in so_far:
        return END if not so_far.endswith("</think>") else "7"
    if so_far.rfind("<summarize>") > so_far.rfind("</summarize>"):
        begun = so_far.rpartition("<summarize>")[2].rpartition(" that")[2]
        return " x is 4 now</summarize>"[len(begun) :]
    if "<comment>" in so_far:
        return "</think>"
    tail = so_far.rpartition("\n\n")[2]
    return "\n\n" if len(tail) >= 6 else {"p": 0.5, "q": 0.5} if len(tail) % 2 == 0 else " "


def test_chains_sum_up_hear_one_another_and_go_on() -> None:
    solution, _ = play(Leap(n=3, turn=10, peers=2), thinker, profile={"step": "\n\n"})
    assert solution.text == "7"
    assert solution.thinking.count("<summarize>") == solution.thinking.count("</summarize>") == 1
    assert re.search(r'<comment> Peer 1: ".* x is 4 now" Peer 2: ".* x is 4 now" </comment>', solution.thinking)
    assert "that x is 4 now</summarize>" in solution.thinking
    before = solution.thinking.partition("<summarize>")[0]
    assert re.match(r"[pq ]{6}\n\n[A-Z]", before), "the unfinished paragraph is gone"
    assert solution.ledger.dropped > 0
    assert {event.at for event in solution.log if event.kind == "chain"} == {0}


def test_a_summary_that_is_too_long_is_closed_and_a_lone_chain_hears_nobody() -> None:
    solution, _ = play(Leap(n=1, turn=10, summary_tokens=2), thinker, profile={"step": "\n\n"})
    assert "that x... </summarize>" in solution.thinking
    assert ALONE.strip() in solution.thinking
    assert comment([]) == ALONE


def test_a_chain_that_ends_before_the_turn_is_left_in_peace() -> None:
    solution, _ = play(Leap(n=2, turn=2000), lambda so_far, request: "so</think>7"[len(so_far) :] or END)
    assert (solution.text, solution.thinking) == ("7", "so")
    assert not any(event.kind == "inject" for event in solution.log)


def test_after_the_last_turn_thinking_is_closed_or_the_inner_rule_takes_over() -> None:
    closed, _ = play(Leap(n=2, turn=10, max_turns=2), never)
    assert (closed.text, closed.ended, closed.thinking.count("<comment>")) == ("9", "rule", 1)
    ruled, _ = play(Leap(n=2, turn=10, max_turns=1, stop=FixedBudget(tokens=200)), never)
    assert (ruled.text, ruled.ended) == ("9", "rule")
    assert ruled.thinking.count("z") > closed.thinking.count("z")

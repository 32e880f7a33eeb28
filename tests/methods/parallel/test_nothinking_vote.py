"""Voting without thinking: ranks, certainty, and what is said of answers that cannot be read."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.parallel.stage import PROBLEM, play

from satisfice.answers.vote import majority
from satisfice.core.engine import Request, random_key
from satisfice.engines.scripted import END
from satisfice.methods.parallel.nothinking_vote import NoThinkingVote, borda, self_certainty
from satisfice.methods.stopping.fixed_budget import FixedBudget


def test_golden_values() -> None:
    votes = borda([4.0, 3.0, 2.0, 1.0])
    assert [round(vote, 4) for vote in votes] == [2.0, 1.7321, 1.4142, 1.0]
    vote = majority(["A", "B", "B", "A"], weights=votes)
    assert (vote.answer, round(vote.share * sum(votes), 4)) == ("B", 3.1463)
    assert majority(["A", "B", "B", "A"]).tie, "where plain majority is a tie"
    assert self_certainty(np.log([[0.7, 0.2, 0.1], [0.9, 0.05, 0.05]])) == pytest.approx(0.629, abs=1e-4)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(0, 2))
def test_the_surest_has_most_votes_and_power_0_is_plain_majority(certainty: list[float], p: float) -> None:
    votes = borda(certainty, p)
    assert max(votes) == votes[int(np.argmax(certainty))] == pytest.approx(len(certainty) ** p)
    assert borda(certainty, 0) == [1.0] * len(certainty)


def script(*told: tuple[str, float]) -> Any:
    """Chain n answers at once, each token with the given probability."""
    keys = {random_key(0, PROBLEM.id, str(n)): chain for n, chain in enumerate(told)}

    def tell(so_far: str, request: Request) -> Any:
        answer, p = keys[request.key]
        said = so_far.partition("</think>")[2]
        return {answer[len(said) :] or END: p, "x": 1 - p}

    return tell


def test_the_ranked_vote_decides_the_worked_example() -> None:
    told = [("A", 0.99), ("B", 0.98), ("B", 0.97), ("A", 0.9)]
    solution, _ = play(NoThinkingVote(n=4, top=2), script(*told), temperature=0.0)
    assert (solution.text, solution.chain, solution.thinking, solution.ended) == ("B", "1", "", "rule")
    assert play(NoThinkingVote(n=4, top=2, p=0), script(*told), temperature=0.0)[0].text == "A"


def test_an_answer_that_cannot_be_read_keeps_its_rank_and_has_no_vote() -> None:
    told = [(" ", 0.999), ("A", 0.9), (" ", 0.99), ("B", 0.8)]
    assert play(NoThinkingVote(n=4, top=2), script(*told), temperature=0.0)[0].text.strip() == "A"
    assert play(NoThinkingVote(n=2, top=2), script((" ", 0.9), (" ", 0.9)), temperature=0.0)[0].text.strip() == ""


def test_with_a_rule_the_chains_think() -> None:
    solution, _ = play(NoThinkingVote(n=2, top=2, stop=FixedBudget(tokens=1)), script(("hm hm", 0.9), ("hm", 0.9)))
    assert (solution.thinking, solution.ended) == ("hm", "rule")

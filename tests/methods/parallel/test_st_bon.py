"""ST-BoN: when chains differ, how a chain moves through the layers, and who stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.parallel.stage import dropped, looks, play, stories

from satisfice.methods.parallel.st_bon import StBon, apart_at, chain_feature, disagreement
from satisfice.methods.stopping.fixed_budget import FixedBudget

STATES = [[[1, 0], [1, 1], [0, 2]], [[1, 0], [1, 0.8], [0.1, 2]], [[1, 0], [3, 1], [2, 2]]]


def test_golden_values() -> None:
    features = [chain_feature(states) for states in STATES]
    assert [round(f, 4) for f in features] == [0.0398, 0.0244, 0.3162]
    assert disagreement(features).round(4).tolist() == [0.0383, 0.0427, 0.0808]
    assert int(np.argmin(disagreement(features))) == 0


def test_the_first_step_at_which_all_chains_differ() -> None:
    ids = [[5, 57, 571], [5, 57, 572], [5, 58, 583]]
    assert apart_at(ids, 2) is None
    assert apart_at(ids, 3) == 3


def test_states_that_do_not_move_and_a_lone_chain_have_a_feature_all_the_same() -> None:
    assert np.isfinite(chain_feature([[1, 1], [1, 1], [1, 1]]))
    assert disagreement([0.3]).tolist() == [0.0]


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=9), st.floats(-5, 5))
def test_agreement_does_not_depend_on_where_zero_is(features: list[float], shift: float) -> None:
    moved = disagreement([f + shift for f in features])
    assert np.allclose(moved, disagreement(features), atol=1e-6)


def words(*letters: str, length: int = 40) -> list[str]:
    """Chains of one-letter words that begin as given and go on alike."""
    return [" ".join(begin) + " x" * length + "</think>" + begin[-1] for begin in letters]


def test_the_window_is_as_long_as_the_way_to_where_they_differ() -> None:
    told = words("abc", "abd", "aef")  # tokens a, blank, b, blank, c: all differ at step 5
    solution, _ = play(StBon(n=3), stories(*told))
    pauses = {name: [e for e in solution.log if e.kind == "pause" and e.chain == name] for name in ("0", "1", "2")}
    drops = dropped(solution)
    assert len(drops) == 2
    assert all(sum(e.data["tokens"] for e in pauses[name]) == 5 + 5 for name in drops)
    assert solution.ledger.dropped == 2 * 10
    assert sum(looks(solution)) == 5, "one vote a step of the window"


def test_the_paper_votes_once_more_than_the_code_over_the_same_tokens() -> None:
    told = words("abc", "abd", "aef")
    code, _ = play(StBon(n=3), stories(*told))
    paper, _ = play(StBon(n=3, estimates="paper"), stories(*told))
    assert (sum(looks(code)), sum(looks(paper))) == (5, 6)
    assert code.ledger.dropped == paper.ledger.dropped


@pytest.mark.parametrize("m", [0.0, 0.5, 2.0])
def test_the_window_scales_with_m_and_has_at_least_one_step(m: float) -> None:
    solution, _ = play(StBon(n=3, m=m), stories(*words("abc", "abd", "aef")))
    assert solution.ledger.dropped == 2 * (5 + max(1, int(m * 5)))


def test_a_chain_that_ends_ends_the_wait_for_others_to_differ() -> None:
    solution, _ = play(StBon(n=2), stories("a</think>1"))
    assert solution.text == "1"
    assert solution.ledger.dropped <= 4, "alike to the end: they wait no longer than the first end"


def test_chains_that_never_differ_are_waited_for_no_longer_than_patience() -> None:
    solution, _ = play(StBon(n=2, patience=8), stories("a b " * 50 + "</think>1"))
    assert (solution.text, solution.ledger.dropped) == ("1", 16)


def test_one_chain_is_left_alone() -> None:
    solution, _ = play(StBon(n=1), stories("a b</think>1"))
    assert (solution.text, solution.ledger.dropped, solution.ledger.probe) == ("1", 0, 0)


def test_the_inner_rule_goes_on_with_the_chosen_chain() -> None:
    solution, _ = play(StBon(n=3, stop=FixedBudget(tokens=20)), stories(*words("abc", "abd", "aef")))
    assert (solution.text, solution.ended) == ("cut", "rule")
    assert solution.ledger.kept == 20 + 2, "the tokens before the choice count towards the budget of the rule"

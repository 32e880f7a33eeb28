"""Progress over turns: the estimator, the rewards of steps, and what comes from each turn on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.spa import Spa, fit_progress, left_out_return
from satisfice.testing import rollouts

TURNS = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1]])
ENDS = np.array([[0, 1, 0, 1, 0, 1], [0, 1, 0, 0, 0, 1]])
MASK = np.ones((2, 6))


def batch(progress: object, grounded: object = 0 * ENDS):  # type: ignore[no-untyped-def]
    return rollouts([1, 0], [6, 6], progress=progress, grounded=grounded, segment=TURNS, mask=MASK)


def test_a_turns_tokens_are_compared_by_what_comes_from_there_on() -> None:
    progress = np.array([[0, 0.2, 0, 0.3, 0, 0.5], [0, 0.1, 0, 0, 0, 0.3]])
    shaped = Spa()(batch(progress))
    assert shaped.reward == pytest.approx([1.0, 0.4])
    # From the three turns on the first earns 1, 0.8 and 0.5, the second 0.4 and 0.3; the last turn has no other.
    assert shaped.advantage[0] == pytest.approx([0.3, 0.3, 0.25, 0.25, 0, 0])
    assert shaped.advantage[1] == pytest.approx([-0.3, -0.3, -0.25, -0.25, -0.25, -0.25])


def test_an_accepted_action_earns_the_bonus_and_a_refused_one_does_not() -> None:
    shaped = Spa()(batch(0.0 * ENDS, ENDS * [[1], [0]]))
    assert shaped.reward.tolist() == [1.5, 0]
    assert Spa(grounding=0)(batch(0.0 * ENDS, ENDS)).reward.tolist() == [0, 0]


def test_what_the_authors_script_writes_over_the_estimate_is_the_same_for_every_turn() -> None:
    assert left_out_return([1, 0, 0.5]).tolist() == [0.75, -0.75, 0]
    with pytest.raises(BadInput, match="at least two"):
        left_out_return([1.0])


@given(st.integers(0, 99))
def test_the_fit_finds_what_each_turn_contributed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, episodes = rng.normal(size=3), [rng.normal(size=(rng.integers(1, 6), 3)) for _ in range(60)]
    outcomes = [float((h @ weight + 0.25).sum()) for h in episodes]
    found = fit_progress(episodes, outcomes, ridge=1e-9)
    assert found.weight == pytest.approx(weight, abs=1e-5)
    assert found.bias == pytest.approx(0.25, abs=1e-5)
    for states, outcome in zip(episodes, outcomes, strict=True):
        assert found(states).sum() == pytest.approx(outcome, abs=1e-4)


def test_contributions_can_be_made_to_sum_to_the_outcome_where_the_fit_does_not() -> None:
    rng = np.random.default_rng(0)
    episodes, outcomes = [rng.normal(size=(4, 2)) for _ in range(30)], rng.integers(0, 2, 30)
    found = fit_progress(episodes, outcomes)
    assert abs(found(episodes[0]).sum() - outcomes[0]) > 1e-3
    assert found.exact(episodes[0], float(outcomes[0])).sum() == pytest.approx(outcomes[0])
    # The least squares leave no better one: moving the reading either way only adds to the error.
    error = sum((found(h).sum() - r) ** 2 for h, r in zip(episodes, outcomes, strict=True))
    for step in (0.05, -0.05):
        other = type(found)(weight=found.weight + step, bias=found.bias)
        assert sum((other(h).sum() - r) ** 2 for h, r in zip(episodes, outcomes, strict=True)) > error


@pytest.mark.parametrize(("episodes", "outcomes"), [([], []), ([np.ones((2, 3))], [1, 2]), ([np.ones((0, 3))], [1])])
def test_what_cannot_be_fitted_is_refused(episodes: list[np.ndarray], outcomes: list[float]) -> None:
    with pytest.raises(BadInput, match="fit_progress"):
        fit_progress(episodes, outcomes)

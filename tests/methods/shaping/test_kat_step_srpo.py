"""The choice of the mode is judged apart from the answer."""

import numpy as np
import pytest

from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.kat_step_srpo import KatStepSrpo
from satisfice.testing import rollouts

MASK = np.ones((4, 3))


def batch(correct: list[int], mode: list[int], needs: int):  # type: ignore[no-untyped-def]
    return rollouts(correct, [3] * 4, mode=mode, needs_thinking=[needs] * 4, decision_token=[0] * 4, mask=MASK)


def test_the_deciding_token_has_the_choices_advantage_and_the_others_the_answers() -> None:
    shaped = KatStepSrpo()(batch([1, 1, 0, 1], [1, 0, 0, 0], needs=0))
    choice = Grpo()(rollouts([0, 1, 1, 1])).advantage
    answer = Grpo()(rollouts([1, 1, 0, 1])).advantage
    assert shaped.advantage[:, 0] == pytest.approx(choice)
    assert shaped.advantage[:, 1:] == pytest.approx(np.stack([answer, answer], axis=1))
    assert shaped.advantage[0, 0] < 0 < shaped.advantage[0, 1]  # right, though it need not have thought
    assert shaped.metrics == {"fits": 0.75, "thinks": 0.25}


def test_a_group_that_is_all_right_still_learns_the_mode_and_nothing_else() -> None:
    shaped = KatStepSrpo()(batch([1] * 4, [1, 1, 0, 0], needs=1))
    assert (shaped.advantage[:, 0] > 0).tolist() == [True, True, False, False]
    assert not shaped.advantage[:, 1:].any()


def test_a_rollout_without_a_deciding_token_has_the_answers_advantage_alone() -> None:
    one = batch([1, 0, 0, 0], [1, 0, 1, 0], needs=1)
    none = rollouts([1, 0, 0, 0], [3] * 4, **{**one.columns, "decision_token": np.full(4, -1)}, mask=MASK)
    assert np.ptp(KatStepSrpo()(none).advantage, axis=1).max() == 0


def test_the_weight_of_the_choice() -> None:
    some = batch([1, 1, 0, 0], [1, 0, 1, 0], needs=1)
    assert not KatStepSrpo(choice=0)(some).advantage[:, 0].any()

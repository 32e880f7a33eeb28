"""L1-Max: at most as many tokens as the prompt allows."""

import numpy as np
import pytest

from satisfice.methods.shaping.l1_max import L1Max
from satisfice.testing import rollouts

G4 = rollouts(correct=[1, 1, 1, 0], length=[1000, 2000, 4000, 3000], budget=[2000] * 4)


def test_worked_example() -> None:
    shaped = L1Max()(G4)
    assert shaped.reward == pytest.approx([0.8, 0.5, 0.0, 0.0], abs=1e-4)
    assert shaped.advantage == pytest.approx([1.2033, 0.4433, -0.8233, -0.8233], abs=1e-4)
    assert shaped.metrics == {"over_budget": 0.5}


def test_the_released_code_has_half_the_slope() -> None:
    assert L1Max(form="code")(G4).reward == pytest.approx([0.65, 0.5, 0.2, 0.0], abs=1e-4)


def test_a_group_without_a_right_rollout_gives_nothing() -> None:
    assert not L1Max()(rollouts([0, 0], [5, 5000], budget=[2000] * 2)).advantage.any()


def test_being_shorter_never_costs_a_right_rollout() -> None:
    lengths = np.arange(0, 6000, 100)
    for form in ("paper", "code"):
        batch = rollouts(np.ones(len(lengths)), lengths, budget=np.full(len(lengths), 2500))
        assert (np.diff(L1Max(form=form)(batch).reward) <= 0).all()
    assert L1Max().suffix(512) == "Think for maximum 512 tokens."

"""L1-Exact: as many tokens as the prompt asks for."""

import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.l1_exact import L1Exact
from satisfice.testing import rollouts

LENGTHS = [1000, 2000, 4000, 3000]


def test_worked_example() -> None:
    shaped = L1Exact()(rollouts([1, 1, 1, 0], LENGTHS, budget=[2000] * 4))
    assert shaped.reward == pytest.approx([0.7, 1.0, 0.4, -0.3], abs=1e-4)
    assert shaped.advantage == pytest.approx([0.4490, 0.9878, -0.0898, -1.3470], abs=1e-4)
    assert shaped.metrics == {"budget_distance": 1000}


def test_wrong_rollouts_are_charged_too() -> None:
    assert L1Exact()(rollouts([0, 0], [1999, 100], budget=[2000] * 2)).advantage[0] > 0


def test_without_budgets_it_says_what_it_lacks() -> None:
    with pytest.raises(BadInput, match="no 'budget'"):
        L1Exact()(rollouts([1]))
    assert L1Exact().suffix(512) == "Think for 512 tokens."

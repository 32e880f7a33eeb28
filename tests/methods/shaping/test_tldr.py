"""TLDR: several degrees of brevity in one model."""

import pytest

from satisfice.core.errors import BadInput
from satisfice.methods.shaping.tldr import Tldr
from satisfice.testing import check_method, rollouts

LENGTHS = [1000, 2000, 4000, 3000]


@pytest.mark.parametrize(
    ("level", "reward", "advantage"),
    [
        (1, [0.975, 0.95, 0.9, -0.075], [0.5645, 0.5154, 0.4172, -1.4972]),
        (0, [0.925, 0.85, 0.7, -0.225], [0.6798, 0.5391, 0.2578, -1.4767]),
        (2, [1, 1, 1, 0], [0.5, 0.5, 0.5, -1.5]),
    ],
)
def test_worked_example(level: int, reward: list[float], advantage: list[float]) -> None:
    shaped = Tldr()(rollouts([1, 1, 1, 0], LENGTHS, level=[level] * 4))
    assert shaped.reward == pytest.approx(reward, abs=1e-4)
    assert shaped.advantage == pytest.approx(advantage, abs=1e-4)


def test_wrong_rollouts_can_be_spared() -> None:
    wrong = rollouts([0, 0], [5, 5000], level=[0, 0])
    assert Tldr()(wrong).advantage[0] > 0
    assert not Tldr(charge_wrong=False)(wrong).advantage.any()
    check_method(Tldr(charge_wrong=False))


def test_levels_and_rates_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="level must be 0"):
        Tldr()(rollouts([1], level=[3]))
    with pytest.raises(BadInput, match="must not rise"):
        Tldr(long=0.5)

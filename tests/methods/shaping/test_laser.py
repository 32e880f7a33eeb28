"""LASER: a bonus under a target length."""

import pytest

from satisfice.methods.shaping._laser import scores
from satisfice.methods.shaping.laser import Laser
from satisfice.testing import rollouts

LENGTHS = [1000, 2000, 4000, 3000]
G4 = rollouts(correct=[1, 1, 1, 0], length=LENGTHS)


def test_worked_example() -> None:
    shaped = Laser(target=2000)(G4)
    assert shaped.reward.tolist() == [1.5, 1.5, 1.0, -0.5]
    assert shaped.advantage == pytest.approx([0.6603, 0.6603, 0.1321, -1.4527], abs=1e-4)


def test_other_modes() -> None:
    assert Laser(target=2000, mode="penalty")(G4).reward.tolist() == [1.0, 1.0, 0.5, -0.5]
    assert Laser(target=2000, mode="hybrid")(G4).reward.tolist() == [1.5, 1.5, 0.5, -0.5]


def test_the_form_comes_from_its_column_or_from_truncation() -> None:
    assert scores(rollouts([1, 1, 0], truncated=[0, 1, 0])).tolist() == [1, -1, -0.5]
    assert scores(rollouts([1, 1, 0], truncated=[0, 1, 0], well_formed=[0, 1, 0])).tolist() == [-1, 1, -1]


def test_all_right_is_two_levels_and_all_wrong_none() -> None:
    assert not Laser(target=2000)(rollouts([0] * 4, LENGTHS)).advantage.any()
    assert len(set(Laser(target=2000)(rollouts([1] * 4, LENGTHS)).advantage.round(9))) == 2
    assert not Laser(target=5000)(rollouts([1] * 4, LENGTHS)).advantage.any()

"""What a trainer asks of a shaper, and what shapers share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.rollouts import Column, Rollouts
from satisfice.core.shaper import (
    SHAPER,
    STATELESS,
    CountsSteps,
    Loss,
    Pressure,
    Shaped,
    Shaper,
    ShapesReward,
    State,
    advance,
    caps_for,
    columns_of,
    reads,
    start,
)
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.l1_max import L1Max
from satisfice.methods.shaping.laser_d import LaserD
from satisfice.methods.shaping.palu import Palu
from satisfice.methods.shaping.siri import Siri
from satisfice.testing import check_method, rollouts

HEIGHT = Column("height", "how tall", example=lambda some: some.share)


@dataclass(frozen=True, kw_only=True)
class Tall(ShapesReward, CountsSteps):
    """Pay for height."""

    card: ClassVar = Card(
        id="tall", paper="", where="here", needs=frozenset(), fidelity="standard", requires=frozenset({HEIGHT})
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)

    advantage: Shaper = Grpo(clip_high=0.3)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        return self.advantage(rollouts.rewarded(rollouts["height"]))


def test_a_shaper_with_a_column_of_its_own_passes_the_battery() -> None:
    check_method(Tall)
    assert SHAPER.accepts(Tall)
    assert (reads(Tall()), columns_of(Tall(advantage=L1Max()))) == ({"height"}, {HEIGHT, *L1Max.card.requires})


def test_what_shapes_the_reward_asks_of_the_loss_what_it_hands_it_on_to() -> None:
    assert Tall().loss == Loss(clip_high=0.3, kl=Grpo().kl, aggregation=Grpo().aggregation)
    for inner, says in ((Palu(), "a shaper without a state"), (3, "a shaper, got 3")):
        with pytest.raises(BadInput, match=f"tall: advantage must be {says}"):
            Tall(advantage=inner)  # type: ignore[arg-type]


def test_steps_are_counted_and_nothing_else_is_remembered() -> None:
    batch, state = rollouts([1, 0], height=[1.0, 2.0]), start(Tall())
    for step in range(3):
        assert state == {"step": step}
        state = advance(Tall(), state, batch)
    assert (start(Grpo()), advance(Grpo(), {"x": 1}, batch)) == ({}, {"x": 1})


@pytest.mark.parametrize(("shaper", "capped"), [(Grpo(), False), (Siri(), True), (Palu(), True), (LaserD(), False)])
def test_only_a_capping_shaper_caps(shaper: Shaper, capped: bool) -> None:
    prompts: Sequence[str] = ["a", "b"]
    caps = caps_for(shaper, start(shaper), prompts)
    assert (caps is not None) is capped
    assert caps is None or (np.asarray(caps).shape == (2,) and (np.asarray(caps) >= 1).all())

"""ThinkPrune: a cap that is tightened stage by stage."""

import numpy as np
import pytest

from satisfice.core.errors import BadInput
from satisfice.core.shaper import advance, caps_for, start
from satisfice.methods.shaping.grpo import Grpo
from satisfice.methods.shaping.thinkprune import ThinkPrune
from satisfice.testing import rollouts

G4 = rollouts(correct=[1, 1, 1, 0], length=[1000, 2000, 4000, 3000])


def test_worked_example() -> None:
    shaped = ThinkPrune()(G4, {"step": 180})
    assert shaped.reward.tolist() == [1, 1, 0, 0]
    assert shaped.advantage == pytest.approx([0.8660, 0.8660, -0.8660, -0.8660], abs=1e-4)
    assert shaped.metrics == {"cap": 3000, "over_cap": 0.25}


def test_the_cap_falls_from_stage_to_stage_and_then_stays() -> None:
    rule, seen = ThinkPrune(stage_steps=2, first=3000), []
    state = start(rule)
    for _ in range(5):
        caps = caps_for(rule, state, ["a", "b"])
        assert caps is not None
        seen.append(caps.tolist())
        state = advance(rule, state, G4)
    assert seen == [[3000] * 2, [3000] * 2, [2000] * 2, [2000] * 2, [2000] * 2]


def test_a_cap_that_nobody_reaches_is_its_parent() -> None:
    assert np.array_equal(ThinkPrune()(G4).advantage, Grpo()(G4).advantage)


def test_a_rising_schedule_is_refused() -> None:
    with pytest.raises(BadInput, match="thinkprune: last must not exceed first"):
        ThinkPrune(last=5000)

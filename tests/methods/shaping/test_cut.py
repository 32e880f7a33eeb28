"""What a right answer is worth in a rollout that was cut before the end of its turn: decided for each method."""

import dataclasses
from typing import Literal

import numpy as np
import pytest

from satisfice.core.fit import asks
from satisfice.core.shaper import reads, start
from satisfice.methods.shaping import FAMILY
from satisfice.testing import random_rollouts

WRONG = {"adacot", "conciser-lgrpo", "crm-crf", "da-dler", "dler", "dr-grpo", "drpo", "lp-sigmoid", "ulorl"}
MALFORMED = {"laser", "laser-d", "laser-de"}
UNREAD = {"format-length-surrogate", "longwriter-length", "odin", "spa", "trajectory-truncation"}


def kind(name: str) -> Literal["right", "wrong", "malformed", "unread"]:
    """How a method takes it: four rollouts alike but for their verdicts, of which the second right one was cut."""
    method = FAMILY.methods[name]()
    batch = random_rollouts(0, groups=1, size=4, columns=asks(method, "data"))
    alike = {
        column: np.full_like(values, values[0]) for column, values in batch.columns.items() if column != "well_formed"
    }
    if "finished" in alike:
        alike["finished"] = np.ones(4)
    if "well_formed" in reads(method):
        alike["well_formed"] = np.array([1, 0, 1, 1])
    rows = dataclasses.replace(
        batch,
        correct=np.array([1, 1, 0, 0]),
        reward=None,
        truncated=np.array([0, 1, 0, 0]),
        length=np.full(4, 50),
        columns=alike,
        tokens={column: np.repeat(values[:1], 4, axis=0) for column, values in batch.tokens.items()},
    )
    whole, cut, wrong, _ = method(rows, start(method)).reward
    if np.isclose(whole, wrong):
        return "unread"
    return "right" if np.isclose(cut, whole) else "wrong" if np.isclose(cut, wrong) else "malformed"


@pytest.mark.parametrize("name", FAMILY.methods)
def test_each_method_takes_it_as_its_source_does(name: str) -> None:
    expected = (
        "wrong" if name in WRONG else "malformed" if name in MALFORMED else "unread" if name in UNREAD else "right"
    )
    assert kind(name) == expected

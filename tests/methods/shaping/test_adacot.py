"""AdaCoT: charges for thinking where none is needed, and for none where it is."""

import numpy as np
import pytest

from satisfice.methods.shaping.adacot import Adacot
from satisfice.testing import rollouts

LABELS = {"needs_thinking": [1, 0, 1, 0], "mode": [1, 1, 0, 1], "well_formed": [1, 1, 1, 0]}


def test_worked_example() -> None:
    batch = rollouts([1, 1, 0, 1], reward=[0.8, 0.8, 0.5, 0.9 + 0.3], **LABELS)
    assert Adacot()(batch).reward == pytest.approx([0.8, 0.5, 0.3, -0.1])


def test_the_shares_are_told() -> None:
    metrics = Adacot()(rollouts([1, 1, 0, 1], **LABELS)).metrics
    assert metrics == {"thinks": 0.75, "missing": 0.25, "needless": 0.5}


def test_the_deciding_token_can_be_left_out_of_the_loss_and_stays_in_the_denominator() -> None:
    batch = rollouts([1, 0], needs_thinking=[1, 1], mode=[1, 1], well_formed=[1, 1], decision_token=[1, -1],
                     mask=np.ones((2, 3)))  # fmt: skip
    assert Adacot()(batch).weight is None
    weight = Adacot(mask_decision=True)(batch).weight
    assert weight is not None
    assert weight.tolist() == [[1, 0, 1], [1, 1, 1]]
    assert Adacot().loss.share(batch["mask"]).sum() == pytest.approx(1)

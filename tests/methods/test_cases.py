"""Inputs on which methods once differed from the code that their cards name, with what that code says."""

from collections.abc import Sequence

import numpy as np
import pytest
from tests.methods.parallel.stage import play
from tests.methods.parallel.test_deepconf import STORY, greedily, sure
from tests.methods.parallel.test_leap import never

from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Shaper, State
from satisfice.methods.parallel.adaptive_consistency import Criterion, decided
from satisfice.methods.parallel.deepconf import DeepConf
from satisfice.methods.parallel.leap import Leap
from satisfice.methods.shaping.dapo import Dapo
from satisfice.methods.shaping.dr_grpo import DrGrpo
from satisfice.methods.shaping.laser_d import LaserD
from satisfice.methods.shaping.laser_de import goes_in_circles
from satisfice.methods.shaping.lp_sigmoid import LpSigmoid
from satisfice.methods.shaping.rise import Rise
from satisfice.methods.stopping.deer import confidence
from satisfice.testing import rollouts


@pytest.mark.parametrize(
    ("criterion", "counts", "stop"), [("majority", [2], True), ("entropy", [4], True), ("majority", [1], False)]
)
def test_adaptive_consistency(criterion: Criterion, counts: list[int], stop: bool) -> None:
    assert decided(counts, criterion) is stop


@pytest.mark.parametrize(("max_turns", "exchanges"), [(1, 1), (2, 1), (3, 2)])
def test_leap(max_turns: int, exchanges: int) -> None:
    solution, _ = play(Leap(n=2, turn=10, max_turns=max_turns), never)
    assert solution.thinking.count("<comment>") == exchanges


@pytest.mark.parametrize(
    ("rule", "chains"),
    [
        (
            DeepConf(n=10, mode="offline", eta=10, top=2),
            [(STORY, 0.99, ""), (STORY, 0.9, "12"), *[(STORY, 0.6, "7")] * 8],
        ),
        (
            DeepConf(n=8, warmup=2, window=2048, eta=90, top=2),
            [(STORY, 0.95, "12")] * 2 + [(STORY, 0.55, "7")] * 6,
        ),
    ],
    ids=["offline", "online"],
)
def test_deepconf(rule: DeepConf, chains: Sequence[tuple[str, float, str]]) -> None:
    assert greedily(rule, sure(*chains))[0].text == "12"


@pytest.mark.parametrize(("beyond", "expected"), [(1, 0.99), (0, 0.795)], ids=["vanilla", "vllm"])
def test_deer(beyond: int, expected: float) -> None:
    assert confidence(np.log([0.99, 0.99, 0.6]), skip=1, beyond=beyond) == pytest.approx(expected)


@pytest.mark.parametrize("tokens", [[7] * 500, [*range(30), *[7] * 470]], ids=["alone", "after 30 others"])
def test_laser_de(tokens: list[int]) -> None:
    assert goes_in_circles(tokens)


TARGETS: State = {"step": 1, "monitored": 1, "targets": {"high": 5, "medium": 20, "low": 40}}
RIGHT_ONE = [1.0, -1, -1, -1]  # verdicts of +1 and -1


@pytest.mark.parametrize(
    ("method", "batch", "advantage"),
    [
        (
            LpSigmoid(form="code"),
            rollouts([1, 1, 1, 0], [1000, 2000, 4000, 3000]),
            [0.737, 0.696, 0.613, -1.526],
        ),
        (
            Dapo(),
            rollouts([1, 0, 0, 0], [20480, 16000, 16000, 16000], reward=RIGHT_ONE),
            [1.5, -0.5, -0.5, -0.5],
        ),
        (DrGrpo(), rollouts([1, 0], truncated=[1, 0]), [0, 0]),
    ],
    ids=["lp-sigmoid", "dapo", "dr-grpo"],
)
def test_advantages(method: Shaper, batch: Rollouts, advantage: list[float]) -> None:
    assert method(batch, STATELESS).advantage == pytest.approx(advantage, abs=1e-3)


def test_laser_d() -> None:
    batch = rollouts([1, 1, 0], [10, 50, 50], truncated=[0, 1, 0])
    assert LaserD()(batch, TARGETS).reward.tolist() == [1.5, -1, -0.5]


def test_rise() -> None:
    assert Rise().temperature == 0.4
    weights = Rise()(rollouts([1, 0])).advantage
    assert weights[0] / weights[1] == pytest.approx(12.18, abs=5e-3)

"""Searching a rule's settings: what is scored, what is given up early, and what may be promised of the best."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.recommend.tune import BLOCK, Setting, Space, score, search, space_of

optuna = pytest.importorskip("optuna", reason="needs the extra `tune`")

VALUES = tuple(np.linspace(0.99, 0.8, 12).round(3).tolist())
SPACE = Space(rule="deer", field="threshold", values=VALUES, options={"reuse_answer": (False, True)})
N = 300


class World:
    """Scores that are best at one threshold with reuse, by problem, with noise that settings share."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.hard, self.noise = rng.random(N), rng.normal(0, 0.1, N)
        self.asked = 0

    def __call__(self, setting: Setting, some: NDArray[np.int64]) -> NDArray[np.float64]:
        self.asked += len(some)
        threshold, reuse = setting
        saved = 2.5 * (1 - threshold) + 0.1 * reuse
        lost = self.hard[some] < (1 - threshold) ** 2
        return saved + self.noise[some] - 10.0 * lost

    def mean(self, setting: Setting) -> float:
        return float(self(setting, np.arange(N)).mean())


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_finds_nearly_the_grids_best_with_a_part_of_its_evaluations() -> None:
    assert len(SPACE) == 24
    for seed in range(2):
        world = World(seed)
        found = search(SPACE, world, N, trials=40, seed=seed)
        assert found.evaluations == world.asked
        assert found.evaluations < 0.7 * 24 * N
        assert found.score > max(map(world.mean, SPACE)) - 0.05
        assert sum(trial.ended == "pruned" for trial in found.trials) >= 3
        tried = [trial.setting for trial in found.trials if trial.problems]
        assert len(tried) == len(set(tried))  # nothing twice
        assert all(trial.problems % BLOCK == 0 for trial in found.trials)
    few = search(SPACE, World(0), N, trials=40, most=3 * N)
    assert few.evaluations <= 3 * N


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_same_seed_searches_alike() -> None:
    one, other = (search(SPACE, World(1), N, trials=12, seed=4) for _ in range(2))
    assert one == other


def test_the_score_of_a_problem() -> None:
    got = score([True, False, False], [50, 50, 50], [True, True, False], [100, 100, 100], price=4, mean=200)
    assert got.tolist() == [0.25, -3.75, 0.25]  # wrong in full too: nothing is lost


def test_a_space_is_its_grid_and_knows_what_is_safer() -> None:
    assert list(SPACE) == list(itertools.product(VALUES, (False, True)))
    assert SPACE.up_to((VALUES[2], True)) == [(v, True) for v in VALUES[:3]]
    policy: Any = SPACE.policy((0.99, True))
    assert (policy.card.id, policy.threshold, policy.reuse_answer) == ("deer", 0.99, True)


def test_rules_that_declare_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"'full' declares no settings to try\. Rules that do: .*deer"):
        space_of("full", None)  # type: ignore[arg-type]

"""Stopping what takes too long: the budget, what is remembered, and episodes in a grid of reasoning-gym."""

import asyncio
import math

import numpy as np
import pytest
import reasoning_gym
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.problem import Problem
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.shaping.activevln_early_stop import (
    ActivevlnEarlyStop,
    Episode,
    episode,
    step_budget,
    warm_up_length,
)
from satisfice.testing import rollouts

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


def test_the_budget_is_a_multiple_of_what_is_known_to_be_enough() -> None:
    assert [step_budget(n) for n in (1, 17, 59, 60, 61, 500)] == [2, 34, 118, 120, 120, 120]
    assert step_budget(3, 2.5) == 7


def test_the_warm_up_leaves_more_to_the_agent_as_it_goes_on() -> None:
    left = [warm_up_length(20, k, 100) for k in range(101)]
    assert left == sorted(left)
    assert (left[0], left[1]) == (2, 2)
    assert left[100] == pytest.approx(2 + 18 * (np.log(100) / np.log(101)) ** 2)


def test_a_prompt_without_a_right_rollout_keeps_the_longest_cap() -> None:
    shaper = ActivevlnEarlyStop(longest=500)
    batch = rollouts([1, 1, 0, 0], [100, 140, 20, 30], group=[0, 0, 0, 1], prompt=["a", "a", "a", "b"])
    state = shaper.update(shaper.init(), batch)
    assert shaper.cap(state, ["a", "b", "c"]).tolist() == [240, 500, 500]
    assert ActivevlnEarlyStop(reference="shortest").cap(state, ["a"]).tolist() == [200]
    assert ActivevlnEarlyStop(longest=120).cap(state, ["a"]).tolist() == [120]


def test_only_the_latest_right_lengths_are_remembered() -> None:
    shaper = ActivevlnEarlyStop(memory=2)
    state = shaper.init()
    for length in (50, 10, 30):
        state = shaper.update(state, rollouts([1], [length], prompt=["a"]))
    assert state == {"lengths": {"a": [10, 30]}}


def test_a_stopped_rollout_stays_in_its_group_and_a_group_of_stopped_ones_says_nothing() -> None:
    shaper, state = ActivevlnEarlyStop(), {"lengths": {"a": [10]}}
    names = ["a"] * 3
    some = shaper(rollouts([1, 0, 0], [9, 20, 20], truncated=[0, 1, 1], prompt=names), state)
    assert some.keep.all()
    assert some.advantage[0] > 0 > some.advantage[1]
    assert some.metrics["stopped"] == pytest.approx(2 / 3)
    assert not shaper(rollouts([0, 0, 0], [20] * 3, truncated=[1] * 3, prompt=names), state).advantage.any()


@given(st.floats(1, 5), st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_cap_never_stops_a_rollout_as_long_as_the_known_one(tolerance: float, known: int, longest: int) -> None:
    shaper = ActivevlnEarlyStop(tolerance=tolerance, longest=longest)
    cap = int(shaper.cap({"lengths": {"a": [known]}}, ["a"])[0])
    assert min(known, longest) <= cap <= longest


class Walk:
    """A grid of reasoning-gym's `shortest_path`, walked one cell a turn."""

    def __init__(self, matrix: list[list[str]]) -> None:
        self.cells = {(r, c): cell for r, row in enumerate(matrix) for c, cell in enumerate(row)}
        self.at = next(place for place, cell in self.cells.items() if cell == "*")

    def observe(self) -> str:
        return f"{self.at[0]},{self.at[1]}:"

    def act(self, action: str) -> bool:
        step = MOVES.get(action, (0, 0))
        there = (self.at[0] + step[0], self.at[1] + step[1])
        self.at = there if self.cells.get(there, "X") != "X" else self.at
        return self.cells[self.at] == "#"


GRIDS = [
    item
    for item in reasoning_gym.create_dataset("shortest_path", size=40, seed=3)
    if len(item["metadata"]["solution"] or []) >= 4
][:6]


def walked(script: object, item: dict, budget: int) -> tuple[Episode, str]:  # type: ignore[type-arg]
    async def run() -> tuple[Episode, str]:
        engine = ScriptedEngine(script)  # type: ignore[arg-type]
        problem = Problem(id=str(item["metadata"]["source_index"]), task="grid", question="walk", answer="")
        async with Session(engine, problem, temperature=1.0) as session:
            chain = session.chain()
            found = await episode(chain, Walk(item["metadata"]["matrix"]), budget=budget)
            return found, chain.text

    return asyncio.run(run())


@pytest.mark.parametrize("item", GRIDS, ids=lambda item: str(item["metadata"]["source_index"]))
def test_whoever_knows_the_way_arrives_within_the_budget_and_whoever_wanders_is_stopped(item: dict) -> None:  # type: ignore[type-arg]
    path = item["metadata"]["solution"]

    def guide(so_far: str, request: object) -> str:
        return path[so_far.count("\n")] if so_far.endswith(":") else "\n"

    budget = step_budget(len(path))
    found, text = walked(guide, item, budget)
    assert (found.solved, found.stopped, list(found.actions)) == (True, False, path)
    assert text.count(":") == len(path) == len(found.ends) == 1 + text.rstrip("\n").count("\n")

    def lost(so_far: str, request: object) -> str:
        return "nowhere" if so_far.endswith(":") else "\n"

    found, _ = walked(lost, item, budget)
    assert (found.solved, found.stopped, len(found.actions)) == (False, True, budget)


def test_a_wanderer_is_stopped_at_the_budget_and_its_tokens_end_there() -> None:
    item = GRIDS[0]
    wander = dict.fromkeys(MOVES, 0.25)

    def script(so_far: str, request: object) -> object:
        return wander if so_far.endswith(":") else "\n"

    short, _ = walked(script, item, 8)
    free, _ = walked(script, item, 200)
    assert short.actions == free.actions[:8]  # the same chain, only shorter
    assert len(short.ends) == len(short.actions) <= 8


@settings(max_examples=200)
@given(st.integers(1, 60), st.integers(0, 400), st.integers(1, 200), st.floats(0.5, 3))
def test_the_warm_up_is_the_codes_before_it_rounds(known: int, step: int, steps: int, power: float) -> None:
    least = min(2, known)
    ratio = 1.0 if step > steps else (math.log(max(step, 1)) / math.log(steps + 1)) ** power
    found = warm_up_length(known, step, steps, power=power)
    assert found == pytest.approx(least + (known - least) * ratio)
    assert least <= found <= known

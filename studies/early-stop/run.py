"""Stopping rollouts that take too long, on a task of several steps: what is saved, and what is stopped wrongly.

    python studies/early-stop/run.py

The task is reasoning-gym's `shortest_path`, walked one cell a turn: the grid tells where one stands, the policy says
up, down, left or right. The policy is a table of scores for each grid and cell, which prefers moves that lead nearer by
`warm` (as if it had imitated a little before) and learns by comparing the rollouts of a grid (GRPO). It speaks through
an engine and chains as a model does. Trainings with the same seeds: every episode may take `longest` steps, or some
multiple of the length of the known path. For every stopped episode the same chain is followed on, outside the training,
to see whether it would have arrived.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import reasoning_gym

from satisfice.core.engine import random_key
from satisfice.core.problem import Problem
from satisfice.core.rollouts import Rollouts
from satisfice.core.session import Session
from satisfice.engines.scripted import ScriptedEngine
from satisfice.methods.shaping.activevln_early_stop import Episode, episode, step_budget
from satisfice.methods.shaping.grpo import Grpo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.stages import command, do_stages, showing, table, write_results

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
NAMES = list(MOVES)


@dataclass
class Grid:
    """One grid, walked one cell a turn."""

    number: int
    cells: dict[tuple[int, int], str]
    path: int  # steps of the shortest way
    at: tuple[int, int] = (0, 0)
    been: list[tuple[int, int]] = field(default_factory=list)

    def begun(self) -> "Grid":
        """Another walk through it."""
        start = next(place for place, cell in self.cells.items() if cell == "*")
        return Grid(self.number, self.cells, self.path, start)

    def distances(self) -> dict[tuple[int, int], int]:
        """Steps from each cell to the destination."""
        found = {next(place for place, cell in self.cells.items() if cell == "#"): 0}
        for place in (queue := list(found)):
            for r, c in MOVES.values():
                there = (place[0] + r, place[1] + c)
                if self.cells.get(there, "X") != "X" and there not in found:
                    found[there] = found[place] + 1
                    queue.append(there)
        return found

    def observe(self) -> str:
        """Where one stands."""
        return f"{self.number} {self.at[0]} {self.at[1]}:"

    def act(self, action: str) -> bool:
        """Go, unless something is in the way."""
        self.been.append(self.at)
        there = (self.at[0] + MOVES[action][0], self.at[1] + MOVES[action][1])
        self.at = there if self.cells.get(there, "X") != "X" else self.at
        return self.cells[self.at] == "#"


def grids(n: int) -> list[Grid]:
    """Grids with a way of at least five steps."""
    found = []
    for item in reasoning_gym.create_dataset("shortest_path", size=40 * n, seed=7):
        matrix, way = item["metadata"]["matrix"], item["metadata"]["solution"] or []
        if len(way) >= 5 and len(found) < n:
            cells = {(r, c): cell for r, row in enumerate(matrix) for c, cell in enumerate(row)}
            found.append(Grid(len(found), cells, len(way)))
    return found


class Policy:
    """Scores of the four moves for each grid and cell."""

    def __init__(self, begun: list[Grid], warm: float) -> None:
        self.scores: dict[tuple[int, tuple[int, int]], Any] = {}
        for grid in begun:
            far = grid.distances()
            for (row, column), steps in far.items():
                nearer = [far.get((row + r, column + c), steps) < steps for r, c in MOVES.values()]
                self.scores[grid.number, (row, column)] = warm * np.array(nearer, dtype=np.float64)

    def chances(self, grid: int, at: tuple[int, int]) -> Any:
        """Probability of each move."""
        z = np.exp(self.scores.get((grid, at), np.zeros(4)))
        return z / z.sum()

    def __call__(self, so_far: str, request: object) -> Any:
        """The script of the engine: moves where a position was told, the end of the line after a move."""
        if not so_far.endswith(":"):
            return "\n"
        grid, row, column = map(int, so_far.rpartition("\n")[2][:-1].split())
        return dict(zip(NAMES, self.chances(grid, (row, column)).tolist(), strict=True))

    def learn(self, walks: list[tuple[Grid, Episode]], advantage: Any, rate: float) -> None:
        """One step along the gradient: mean over rollouts of the mean over their steps."""
        change: dict[tuple[int, tuple[int, int]], Any] = {}
        for (grid, went), a in zip(walks, advantage, strict=True):
            for at, action in zip(grid.been, went.actions, strict=True):
                towards = np.eye(4)[NAMES.index(action)] - self.chances(grid.number, at)
                key = (grid.number, at)
                change[key] = change.get(key, np.zeros(4)) + rate * a * towards
        for key, value in change.items():
            self.scores[key] = self.scores.get(key, np.zeros(4)) + value


async def walks_of(policy: Policy, begun: list[Grid], budgets: list[int], seed: int) -> list[tuple[Grid, Episode]]:
    """Episodes side by side; the same seed gives the same moves, however long they may go on."""
    engine = ScriptedEngine(policy)

    async def one(place: int) -> tuple[Grid, Episode]:
        grid = begun[place].begun()
        problem = Problem(id=str(place), task="shortest_path", question="walk", answer="")
        session = Session(engine, problem, seed=seed, temperature=1.0, chain_limit=100_000)
        async with session:
            return grid, await episode(session.chain(), grid, budget=budgets[place])

    return list(await asyncio.gather(*(one(place) for place in range(len(begun)))))


def train(all_grids: list[Grid], seed: int, args: argparse.Namespace, tolerance: float) -> dict[str, Any]:
    """One training: success by step, steps walked, and how many stops were wrong; no tolerance: none is stopped."""
    policy, shaper = Policy(all_grids, args.warm), Grpo(kl=0)
    begun = [grid for grid in all_grids for _ in range(args.group)]
    budgets = [step_budget(grid.path, tolerance, args.longest) if tolerance else args.longest for grid in begun]
    curve, walked, stopped, wrongly = [], 0, 0, 0
    for step in range(args.steps):
        key = random_key(seed, step) % 2**31
        walks = asyncio.run(walks_of(policy, begun, budgets, key))
        batch = Rollouts(
            group=np.array([grid.number for grid, _ in walks]),
            correct=np.array([went.solved for _, went in walks]),
            length=np.array([len(went.actions) for _, went in walks]),
        )
        over = [place for place, (_, went) in enumerate(walks) if went.stopped and budgets[place] < args.longest]
        stopped += len(over)
        if over:
            free = [args.longest if place in set(over) else 1 for place in range(len(begun))]
            after = asyncio.run(walks_of(policy, begun, free, key))
            wrongly += sum(after[place][1].solved for place in over)
        policy.learn(walks, shaper(batch).advantage, args.rate)
        walked += int(batch.length.sum())
        curve.append(float(batch.correct.mean()))
    shortest = float(np.mean([went.solved and len(went.actions) == grid.path for grid, went in walks]))
    return {
        "tolerance": tolerance, "seed": seed, "curve": curve, "walked": walked, "stopped": stopped,
        "wrongly": int(wrongly),
        "episodes": len(begun) * args.steps, "last_success": float(np.mean(curve[-3:])), "last_shortest": shortest,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Do the stages that were asked for."""
    parser = command(__doc__, Path(__file__).parent)
    parser.add_argument("--grids", type=int, default=8)
    parser.add_argument("--group", type=int, default=8, help="episodes a grid and step")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--longest", type=int, default=60, help="steps of an episode")
    parser.add_argument("--tolerances", default="0,4,2", help="multiples of the known path; 0: none is stopped")
    parser.add_argument("--warm", type=float, default=0.7, help="head start of moves that lead nearer, nats")
    parser.add_argument("--rate", type=float, default=0.5)
    do_stages(parser, {"train": do_train, "show": showing(tables)}, argv)


def do_train(args: argparse.Namespace) -> None:
    """Train at every tolerance with every seed."""
    some = grids(args.grids)
    tolerances = [float(text) for text in args.tolerances.split(",")]
    rows = [train(some, seed, args, tolerance) for seed in range(args.seeds) for tolerance in tolerances]
    config = {k: v for k, v in vars(args).items() if k not in ("results", "stage")}
    write_results(args, {"schema_version": 1, "config": config, "rows": rows})


def tables(results: dict[str, Any]) -> str:
    """What was walked and what was learned at each tolerance."""
    lines, longest = [], results["config"]["longest"]
    for tolerance in dict.fromkeys(row["tolerance"] for row in results["rows"]):
        mine = [row for row in results["rows"] if row["tolerance"] == tolerance]
        episodes, walked, stopped, wrong = (
            sum(row[name] for row in mine) for name in ("episodes", "walked", "stopped", "wrongly")
        )
        first, last, way = (float(np.mean(x)) for x in zip(*map(_shown, mine), strict=True))
        name = f"{tolerance:g} x the way" if tolerance else f"{longest} steps"
        lines.append([name, episodes, walked, f"{first:.2f}, {last:.2f}", f"{way:.2f}", stopped, wrong])
    heads = ("stopped at", "episodes", "steps walked", "success: first, last 3", "shortest way", "stopped", "wrongly")
    return table(heads, lines)


def _shown(row: dict[str, Any]) -> tuple[float, float, float]:
    return float(np.mean(row["curve"][:3])), row["last_success"], row["last_shortest"]


if __name__ == "__main__":
    main()

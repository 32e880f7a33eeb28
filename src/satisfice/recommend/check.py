"""Whether a recommendation still holds: for another version of the model, or for other problems.

The recommended setting and the full chain answer problems that had no part in the recommendation, live. A promise that
was made holds where it could be made again from these problems alone, is broken where they show that more is lost, and
is open between the two.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from satisfice.catalog import build, canonical
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, EngineError
from satisfice.core.jobs import Listener
from satisfice.measure.plan import BenchPlan
from satisfice.measure.promises import loss_bound, loss_floor
from satisfice.measure.run import Draw, run_bench
from satisfice.measure.store import read_samples
from satisfice.recommend.found import read_found, saving_interval
from satisfice.recommend.search import Goal, more_problems
from satisfice.recommend.tables import equal_answers
from satisfice.tasks import Task
from satisfice.tasks.judge import Judging

FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check came to, class by class."""

    goal: Goal
    setting: str
    state: Literal["holds", "broken", "open"]
    classes: tuple[str, ...]
    problems: tuple[int, ...]
    lost: tuple[int, ...]
    gained: tuple[int, ...]
    most: tuple[float, ...]  # bound above the loss
    least: tuple[float, ...]  # bound below it
    more: int | None  # where it is open: problems per class that it would take; None: more problems would not help
    saving: float
    bounds: tuple[float, float]  # 95 % interval of the saving
    promised: float  # the saving that was measured then
    same_weights: bool | None  # None: one of the two engines does not say which weights it runs

    def __str__(self) -> str:
        """In words."""
        lost = ", ".join(
            f"{n} of {size} ({name}: at most {most:.2%})"
            for name, n, size, most in zip(self.classes, self.lost, self.problems, self.most, strict=True)
        )
        model = {True: "the same weights", False: "other weights", None: "weights that are not told"}[self.same_weights]
        more = "" if self.more is None else f" About {self.more} problems per task would decide it at this share."
        said = {
            "holds": "The promise holds.", "broken": "The promise is broken. Run satisfice recommend again.",
            "open": f"These problems neither keep nor break the promise.{more}",
        }[self.state]  # fmt: skip
        low, high = self.bounds
        return (
            f"{said} {self.setting} with {model} loses {lost}; promised was {self.goal}. It saves {self.saving:.1%} "
            f"({low:.1%} to {high:.1%}); {self.promised:.1%} when it was recommended."
        )


def check(
    out: Path, model: str, tasks: Sequence[Task], engine: Callable[[], Engine], *, listener: Listener | None = None,
    judge: Judging | None = None, draw: Draw | None = None, concurrency: int = 48,
) -> Checked:  # fmt: skip
    """Run the recommended setting of a folder and the full chain on some problems; the same call goes on after a kill.

    The run lies below `out`, under `checked`, with a report.

    Raises:
        BadInput: `out` holds no recommendation, or the problems are those that it was made from.
        EngineError: problems failed; the same call does those again.
    """
    told = read_found(out)
    of_then = {row["digest"] for row in told["recording"].values()}
    if same := [task.name for task in tasks if task.digest in of_then]:
        raise BadInput(
            f"{same[0]}: these are the problems that the recommendation was made from. Give others: another --split, "
            "or another file."
        )
    goal, setting = Goal(**told["goal"]), str(told["choice"]["setting"])
    policies = {FULL: build(FULL), canonical(build(setting, allow_files=True)): build(setting, allow_files=True)}
    plan = BenchPlan(
        models=(model,), tasks=tuple(tasks), policies=policies, limit=max(len(task.problems) for task in tasks),
        split=tasks[0].split, concurrency=concurrency,
    )  # fmt: skip
    live = engine()
    weights = live.describe().get("weights")
    mark = hashlib.sha256(repr((model, weights, setting, [task.digest for task in tasks])).encode()).hexdigest()[:10]
    folder = out / "checked" / mark
    asyncio.run(run_bench(plan, live, folder, listener=listener, judge=judge, draw=draw))
    same_weights = None if not (weights and told["weights"]) else weights == told["weights"]
    return checked(list(read_samples(folder)), goal, setting, float(told["choice"]["saving"]), same_weights)


def checked(
    samples: Sequence[Mapping[str, Any]], goal: Goal, setting: str, promised: float, same_weights: bool | None
) -> Checked:
    """Return what paired samples of `full` and a setting say of a promise.

    Raises:
        EngineError: a sample failed.
    """
    by: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    for sample in samples:
        by.setdefault(sample["policy"], {})[sample["task"], sample["problem"]] = sample
    full, ours = by[FULL], by[canonical(build(setting, allow_files=True))]
    if failed := [row for cell in (full, ours) for row in cell.values() if row["error"]]:
        raise EngineError(
            f"{len(failed)} answers failed, the first with: {failed[0]['error']}. Run the same command again."
        )
    classes = list(dict.fromkeys(task for task, _ in full))
    keys = list(full)
    losses = np.array([_loss(ours[key], full[key], goal) for key in keys])
    spent = np.array([[cell[key]["spent"] for key in keys] for cell in (ours, full)], dtype=float)
    parts = [losses[np.array([task == name for task, _ in keys])] for name in classes]
    most = tuple(float(loss_bound(part, goal.doubt, goal.loss)) for part in parts)
    least = tuple(
        float(-loss_bound(-part, goal.doubt, "net") if goal.loss == "net" else loss_floor(part, goal.doubt))
        for part in parts
    )
    state: Literal["holds", "broken", "open"] = "open"
    if max(most) <= goal.most:
        state = "holds"
    elif max(least) > goal.most:
        state = "broken"
    lost, gained = (tuple(int((sign * part > 0).sum()) for part in parts) for sign in (1, -1))
    needed = [more_problems(n, part.size, goal) for n, part in zip(lost, parts, strict=True)]
    return Checked(
        goal=goal, setting=setting, state=state, classes=tuple(classes), problems=tuple(part.size for part in parts),
        lost=lost, gained=gained, most=most, least=least,
        more=None if state != "open" or None in needed else max(n for n in needed if n is not None),
        saving=float(1 - spent[0].sum() / spent[1].sum()), bounds=saving_interval(spent[0], spent[1]),
        promised=promised, same_weights=same_weights,
    )  # fmt: skip


def _loss(ours: Mapping[str, Any], full: Mapping[str, Any], goal: Goal) -> int:
    if goal.loss == "changed":
        return int(not equal_answers(ours["answer"], full["answer"]))
    if goal.loss == "wrong":
        return int(ours["verdict"] != "right")
    return int(full["verdict"] == "right") - int(ours["verdict"] == "right")

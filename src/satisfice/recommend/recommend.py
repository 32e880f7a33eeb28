"""From a model and problems to a rule with a promise: record, search, and write down what may be switched on.

The folder holds everything: `recording/`, `recommendation.json` (what was tried and what was found), `serve.toml` for
`satisfice serve --config`, and `replayed/` with the report of each goal. The same call goes on where a killed one was,
and ends in the same recommendation.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.catalog import canonical
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput
from satisfice.core.files import replace_file
from satisfice.core.jobs import Listener
from satisfice.core.problem import Problem
from satisfice.measure.drift import NUMBERS, Reference
from satisfice.measure.promises import loss_floor
from satisfice.measure.replay import replay, replay_plan
from satisfice.measure.run import Draw
from satisfice.measure.samples import different
from satisfice.methods.stopping.full import Full
from satisfice.recommend.found import Floor, Found, changes, found_from, write_found
from satisfice.recommend.search import Goal, certify, choose, classes_of, for_choosing
from satisfice.recommend.tables import Outcomes, Rungs, Table, check_sizes, ladders_of, outcomes
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Task
from satisfice.tasks.judge import Judging

PILOT = 16  # problems per task whose chains tell how the model thinks
LOOKS = 8  # checkpoints that a chain of mean length should have between cues
AGAIN = 150  # problems per task that are thought about a second time: how often do two full answers differ?


def checkpoints_for(lengths: Sequence[int], cues: Sequence[int]) -> tuple[tuple[str, ...], int]:
    """Return where copies of a chain should be asked: the kinds of places, and every how many tokens.

    `lengths` are tokens of thinking of some chains, `cues` how many cues each has. The distance is a power of two near
    an eighth of the mean length, so that rules that count have places too.

    >>> checkpoints_for([290, 310], [4, 5]), checkpoints_for([4000], [0])
    ((('cue',), 32), ((), 512))
    """
    mean = float(np.mean(lengths)) if lengths else 0.0
    every = int(np.clip(2 ** round(np.log2(max(mean / LOOKS, 1.0))), 16, 2048))
    return (("cue",) if sum(cues) else ()), every


async def pilot(
    model: str, tasks: Sequence[Task], engine: Engine, out: Path, judge: Judging | None = None
) -> dict[str, Any]:
    """Record a few chains and say where to ask copies of all others, and how long chains are."""
    path = out / "pilot.json"
    if path.exists():
        return dict(json.loads(path.read_text("utf-8")))
    few = tuple(Task(name=t.name, split=t.split, problems=t.problems[:PILOT], _score=t._score) for t in tasks)
    plan = RecordPlan(model=model, tasks=few, limit=PILOT, split=tasks[0].split, at=("cue",), trial_tokens=1)
    begin = time.monotonic()
    await record(plan, engine, out / "pilot", judge=judge)
    seconds = time.monotonic() - begin
    recording = Recording(out / "pilot")
    rows = list(recording.rows.values())
    thinking = [row.thinking for row in rows]
    at, every = checkpoints_for(thinking, [sum("cue" in point.why for point in row.points) for row in rows])
    found = {
        "at": list(at), "every": every, "tokens_per_s": sum(row.size for row in rows) / seconds,
        "mean_thinking": float(np.mean(thinking)),
        "cues_per_chain": float(np.mean([sum("cue" in point.why for point in row.points) for row in rows])),
    }  # fmt: skip
    replace_file(path, json.dumps(found, indent=1) + "\n")
    return found


def expected_tokens(pilot: Mapping[str, Any], chains: int, answer: int) -> int:
    """Return about how many tokens a recording will sample: chains, and at each checkpoint a trial and an answer."""
    looks = 1 + pilot["cues_per_chain"] + pilot["mean_thinking"] / pilot["every"]
    return int(chains * (pilot["mean_thinking"] + answer + looks * 2 * min(answer, 16)))


def recommend(
    model: str,
    tasks: Sequence[Task],
    engine: Callable[[], Engine],
    out: Path,
    goal: Goal,
    *,
    listener: Listener | None = None,
    judge: Callable[[], Judging | None] = lambda: None,
    told: Callable[[str], None] = lambda text: None,
    price: float | None = None,
    draw: Draw | None = None,
    concurrency: int = 48,
) -> Found:
    """Record the problems, search, and write `recommendation.json` and, where a setting may be used, `serve.toml`.

    `engine` makes a fresh engine each time; `judge` says who judges, by default the tasks' own verifiers. `told` is
    told what will be spent (`price` is money per million tokens), and how it goes on.

    Raises:
        BadInput: too few problems for the promise, a model that does not think, or that is never right.
        CannotWrite, EngineError: as `record`; what was recorded is safe, and the same call goes on.
    """
    limit = max(len(task.problems) for task in tasks)
    tasks = [replace(task, problems=different(task.problems)) for task in tasks]
    problems = [problem for task in tasks for problem in task.problems]
    classes, of = classes_of([problem.task for problem in problems])
    choosing = for_choosing(problems)
    check_sizes(of[~choosing], classes, goal.needed)
    out.mkdir(parents=True, exist_ok=True)
    first = asyncio.run(pilot(model, tasks, engine(), out, judge()))
    if first["mean_thinking"] < 1:
        raise BadInput(f"model {model} does not think on these problems, so there is nothing to stop.")
    plan = RecordPlan(
        model=model, tasks=tuple(tasks), limit=limit, split=tasks[0].split,
        at=tuple(first["at"]), every=first["every"], concurrency=concurrency,
    )  # fmt: skip
    live = engine()
    tokens = expected_tokens(first, plan.size, live.profile.answer_tokens)
    cost = "" if price is None else f", {tokens * price / 1e6:.2f} at {price:g} per million"
    pace = f", at most {max(1, round(tokens / first['tokens_per_s'] / 60))} min at the pilot's pace"
    told(f"Recording {plan.size} chains once: about {tokens:,} tokens{cost}{pace}.")
    asyncio.run(record(plan, live, out / "recording", listener=listener, judge=judge()))
    few = tuple(Task(name=t.name, split=t.split, problems=t.problems[:AGAIN], _score=t._score) for t in tasks)
    again = replace(plan, tasks=few, limit=AGAIN, seeds=(1,), at=(), every=None)
    asyncio.run(record(again, engine(), out / "again", judge=judge()))
    return search_recording(
        Recording(out / "recording"), out, goal, again=Recording(out / "again"), told=told, draw=draw
    )


def search_recording(
    recording: Recording, out: Path, goal: Goal, *, again: Recording | None = None,
    told: Callable[[str], None] = lambda text: None, draw: Draw | None = None,
) -> Found:  # fmt: skip
    """Search a recording for the setting that saves most and keeps the promise, and write down what was found.

    `again` are second full chains to some of its problems.

    Raises:
        BadInput: too few problems, or full chains that are (nearly) never right.
    """
    plan = replay_plan(recording, "full")
    problems = different(problem for task in plan.tasks for problem in task.problems)
    classes, of = classes_of([problem.task for problem in problems])
    choosing = for_choosing(problems)
    check_sizes(of[~choosing], classes, goal.needed)
    (full,) = asyncio.run(outcomes(recording, [Full()], problems))
    _check_full(full, of[~choosing], classes, full.right[~choosing], goal)
    ladders = list(ladders_of(recording))
    told(f"Trying {sum(len(one.policies) for one in ladders)} settings of {len(ladders)} kinds on the recording.")
    tables = {one.name: _table(recording, one, problems, choosing, full, of, goal) for one in ladders}
    expected = choose(tables, goal, np.bincount(of[~choosing]).tolist())
    chosen, *others = (next(one for one in ladders if one.name == name) for name in expected)
    tried = replace(chosen, policies=chosen.policies[: len(tables[chosen.name].losses)])
    table = _table(recording, tried, problems, ~choosing, full, of, goal)
    settings = [canonical(policy) for policy in tried.policies]
    choice = certify(chosen.name, settings[: len(table.losses)], table, goal)
    second = [_best(tables[one.name], one) for one in others[:1]]
    found = replace(
        found_from(choice, goal, table, settings, full.right[~choosing], classes, expected), runner_up="".join(second),
        floor=None if again is None else _floor(full, again, problems, of),
    )  # fmt: skip
    if choice.setting is not None:
        fresh = [problem for problem, mine in zip(problems, ~choosing, strict=True) if mine]
        (ours,) = asyncio.run(outcomes(recording, [chosen.policies[settings.index(choice.setting)]], fresh))
        changed, most = changes(ours, full.part(~choosing), of[~choosing], goal.doubt)
        found = replace(found, changed=changed, changed_most=most, traffic=_traffic(recording, ours, fresh))
    write_found(found, recording.config, out)
    policies = dict.fromkeys(["full", *filter(None, [choice.setting]), *second, "first-cue"])
    asyncio.run(
        replay(
            replay_plan(recording, ", ".join(policies)), ReplayEngine(recording), out / report_folder(goal), draw=draw
        )
    )
    return found


def report_folder(goal: Goal) -> Path:
    """Return where the report of a search lies, below its folder: another goal has another report."""
    return Path("replayed") / f"{goal.loss}-{goal.most:g}-{goal.doubt:.3g}"


def _check_full(full: Outcomes, of: Any, classes: Sequence[str], right: Any, goal: Goal) -> None:
    for number, name in enumerate(classes):
        share = float(right[of == number].mean())
        if goal.loss == "wrong" and 1 - share > goal.most:
            raise BadInput(
                f"{name}: the full chains themselves are right on {share:.1%} of the problems, so of a rule that ends "
                f"them early {1 - goal.most:.1%} cannot be promised. Ask for less, or try policies over several chains."
            )
        if goal.loss in ("lost", "net") and share < 2 * goal.most:
            raise BadInput(
                f"{name}: the full chains are right on {share:.1%} of the problems, so a promise to lose at most "
                f"{goal.most:.1%} would say nothing. Give problems that the model can do, or --loss changed."
            )


def _table(
    recording: Recording, ladder: Rungs, problems: Sequence[Problem], part: Any, full: Outcomes, of: Any, goal: Goal
) -> Table:
    chosen = [problem for problem, mine in zip(problems, part, strict=True) if mine]
    reference = full.part(part)
    losses, spent = [], []
    for policy in ladder.policies:
        (row,) = asyncio.run(outcomes(recording, [policy], chosen))
        losses.append(row.losses(reference, goal.loss))
        spent.append(row.spent)
        if loss_floor(losses[-1]) > goal.most:  # hopeless, and all that come after it are less safe
            break
    return Table(losses=np.array(losses, dtype=np.int8), spent=np.array(spent), full=reference.spent, classes=of[part])


def _best(table: Table, ladder: Rungs) -> str:
    """Return the setting of a ladder that saves most at no more than a hundredth lost on the problems to choose on."""
    good = [at for at, row in enumerate(table.losses) if float((row > 0).mean()) <= 0.01]
    return canonical(ladder.policies[max(good, key=lambda at: table.savings()[at]) if good else 0])


def _traffic(recording: Recording, ours: Outcomes, problems: Sequence[Problem]) -> dict[str, Reference]:
    """Return what is watched of requests, as the problems of the promise have it."""
    prompts: list[float] = [len(recording.prompts[problem.task, problem.id]) for problem in problems]
    columns = (np.array(prompts), ours.looked, ours.saw)
    values = dict(zip(NUMBERS, columns, strict=True))
    return {name: Reference.of(some) for name, some in values.items() if np.isfinite(some).any()}


def _floor(full: Outcomes, again: Recording, problems: Sequence[Problem], of: Any) -> Floor:
    """Return how often second full answers differ from the first, class by class."""
    known = {(task, ident) for task, ident in again.problems}
    twice = np.array([(problem.task, problem.id) in known for problem in problems], dtype=bool)
    (second,) = asyncio.run(outcomes(again, [Full()], [p for p, both in zip(problems, twice, strict=True) if both]))
    changed = second.losses(full.part(twice), "changed")
    sizes = np.bincount(of[twice], minlength=int(of.max()) + 1)
    counts = np.bincount(of[twice], weights=changed, minlength=len(sizes))
    return Floor(changed=tuple(int(n) for n in counts), problems=tuple(int(n) for n in sizes))

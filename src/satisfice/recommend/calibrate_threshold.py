"""A promise for a rule's threshold, from recorded chains: replay it at every value, count what is lost.

What was chosen on one recording is then tried on another, which had no part in the choice.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.catalog import build, canonical
from satisfice.core.errors import BadInput, NotRecorded, UnknownName
from satisfice.core.fields import field_types
from satisfice.core.problem import Verdict
from satisfice.measure.plan import BenchPlan
from satisfice.measure.promises import Controlled, control_risk, problems_needed
from satisfice.measure.replay import RecordedVerdicts, replay_plan
from satisfice.measure.run import answer
from satisfice.measure.samples import different
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What `promise_threshold` found."""

    policy: str  # spec of the rule at the threshold that may be used; "" when none may
    field: str
    outcome: Controlled
    saving: float  # share of spent tokens that it saves against the full chains, on the same problems; 0 without one
    recording: dict[str, Any]  # identity of the chains

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "promise": str(self.outcome)}


def promise_threshold(
    recording: Recording, rule: str, field: str, values: Sequence[float], *, most: float = 0.02, doubt: float = 0.05
) -> Promise:
    """The least safe value of a rule's field that loses at most `most` of the answers, with confidence 1 - `doubt`.

    `values` are tried in the order given, the safest first. One chain a problem counts: that of the first seed. What is
    right and what is spent comes from replaying the rule as `satisfice replay` does. Of problems that ask the same
    question the first alone counts.

    Raises:
        BadInput: values, problems or shares that no promise can be made from.
        UnknownName: the rule has no such field.
        NotRecorded: the rule asks for something that was not recorded.
    """
    base = build(rule)
    kinds = field_types(type(base))
    if field not in kinds:
        raise UnknownName(f"field of {rule}", field, kinds)
    if not values or len(set(values)) != len(values):
        raise BadInput("values must name each value to be tried once, the safest first.")
    whole = kinds[field].kind == "int"
    settings = [int(value) if whole and value == int(value) else value for value in values]
    specs = [canonical(replace(base, **{field: value})) for value in settings]  # type: ignore[type-var]
    size, needed = _problems(recording), problems_needed(most, doubt)
    if size < needed:
        control_risk([values[0]], np.zeros((1, size)), most=most, doubt=doubt)  # says what is missing
    tried = effects(recording, specs)
    outcome = control_risk(values, [one.lost for one in tried], most=most, doubt=doubt)
    chosen = None if outcome.threshold is None else tried[list(values).index(outcome.threshold)]
    return Promise(
        policy=chosen.policy if chosen else "", field=field, outcome=outcome, saving=chosen.saving if chosen else 0.0,
        recording=identity(recording),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect:
    """What a rule does to recorded chains, one per problem."""

    policy: str
    lost: NDArray[np.bool_]  # [problems] the full chain is right and the stopped one is not
    gained: NDArray[np.bool_]  # [problems] the other way round
    saving: float  # share of spent tokens

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        row: dict[str, Any] = {"policy": self.policy, "problems": len(self.lost)}
        return row | {"lost": int(self.lost.sum()), "gained": int(self.gained.sum()), "saving": round(self.saving, 4)}

    def __str__(self) -> str:
        """In words."""
        n = len(self.lost)
        return (
            f"{self.policy} loses {self.lost.sum()} of {n} answers ({self.lost.mean():.2%}), gains {self.gained.sum()} "
            f"and saves {self.saving:.1%} of the tokens"
        )


def effects(recording: Recording, rules: Sequence[str]) -> list[Effect]:
    """Replay rules on a recording, one chain a problem (that of the first seed), against the full chains.

    Raises:
        NotRecorded: a rule asks for something that was not recorded.
    """
    specs = [canonical(build(rule)) for rule in rules]
    plan = replay_plan(recording, ", ".join(["full", *specs]), seeds=(recording.config["seeds"][0],))
    plan = replace(plan, tasks=tuple(replace(task, problems=different(task.problems)) for task in plan.tasks))
    right: dict[str, list[bool]] = {}
    spent: dict[str, int] = {}
    for row in asyncio.run(replayed(plan, ReplayEngine(recording))):
        right.setdefault(row["policy"], []).append(row["verdict"] == Verdict.RIGHT)
        spent[row["policy"]] = spent.get(row["policy"], 0) + row["spent"]
    full = np.array(right["full"], dtype=bool)
    ours = {spec: np.array(right[spec], dtype=bool) for spec in specs}
    return [
        Effect(
            policy=spec, lost=full & ~ours[spec], gained=ours[spec] & ~full, saving=1 - spent[spec] / spent["full"]
        )
        for spec in specs
    ]  # fmt: skip


async def replayed(plan: BenchPlan, engine: ReplayEngine) -> list[dict[str, Any]]:
    """Return the samples of a plan on a recording, in the order of its jobs; nothing is written."""
    plan.check_engine(engine)
    async with RecordedVerdicts(engine.recording) as judge:
        rows = []
        for job in plan.jobs():
            rows.append(await answer(job, plan, engine, judge))
            if rows[-1]["error"]:
                raise NotRecorded(f"{engine.recording.folder}: {job.name}: {rows[-1]['error']} ({job.problem.id})")
    return rows


def identity(recording: Recording) -> dict[str, Any]:
    """Return what chains a result rests on."""
    config = recording.config
    kept = ("model", "weights", "tasks", "problems", "split", "seeds")
    return {name: config[name] for name in kept} | {"temperature": recording.temperature, "chains": len(recording)}


def _problems(recording: Recording) -> int:
    return sum(len(different(task.problems)) for task in replay_plan(recording, "full").tasks)

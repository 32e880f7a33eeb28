"""A promise for a rule's threshold, from recorded chains: replay it at every value, count what is lost."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from satisfice.bench.calibrate_risk import Controlled, control_risk, problems_needed
from satisfice.bench.folder import read_samples
from satisfice.bench.replay import replay, replay_plan
from satisfice.catalog import build, canonical
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.fields import field_types
from satisfice.engines.recording import Recording
from satisfice.engines.replay import ReplayEngine


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
    right and what is spent comes from replaying the rule as `satisfice replay` does.

    Raises:
        BadInput: values, problems or shares that no promise can be made from.
        UnknownName: the rule has no such field.
        NotRecorded: the rule asks for something that was not recorded.
    """
    base = build(rule)
    if field not in field_types(type(base)):
        raise UnknownName(f"field of {rule}", field, field_types(type(base)))
    if not values or len(set(values)) != len(values):
        raise BadInput("values must name each value to be tried once, the safest first.")
    seed = recording.config["seeds"][0]
    specs = [canonical(replace(base, **{field: value})) for value in values]  # type: ignore[type-var]
    plan = replay_plan(recording, ", ".join(["full", *specs]), seeds=(seed,))
    size, needed = sum(len(task.problems) for task in plan.tasks), problems_needed(most, doubt)
    if size < needed:
        control_risk([values[0]], np.zeros((1, size)), most=most, doubt=doubt)  # says what is missing
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(replay(plan, ReplayEngine(recording), Path(folder) / "run"))
        rows = list(read_samples(Path(folder) / "run"))
    right: dict[str, dict[tuple[str, str], bool]] = {}
    spent: dict[str, float] = {}
    for row in rows:
        right.setdefault(row["policy"], {})[row["task"], row["problem"]] = row["verdict"] == "right"
        spent[row["policy"]] = spent.get(row["policy"], 0) + row["spent"]
    full = right["full"]
    lost = np.array([[full[key] and not right[spec][key] for key in full] for spec in specs])
    outcome = control_risk(values, lost, most=most, doubt=doubt)
    chosen = "" if outcome.threshold is None else specs[list(values).index(outcome.threshold)]
    config = recording.config
    return Promise(
        policy=chosen, field=field, outcome=outcome, saving=1 - spent[chosen] / spent["full"] if chosen else 0.0,
        recording={name: config[name] for name in ("model", "weights", "tasks", "problems", "split")} | {"seed": seed},
    )  # fmt: skip

"""The whole way on the real model: record, fit, load, run live, and the same again from the recording."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from satisfice.catalog import canonical, parse_policies
from satisfice.core.errors import NotRecorded
from satisfice.measure.plan import BenchPlan
from satisfice.measure.replay import RecordedVerdicts, replay_plan
from satisfice.measure.run import answer
from satisfice.methods.stopping.artefact import load_artefact
from satisfice.methods.stopping.stop_value import DATES, PRICES, features, trace_of
from satisfice.recommend.calibrate import calibrate
from satisfice.recommend.calibrate_threshold import effects
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import load_task
from satisfice.tasks.judge import Judge

pytestmark = pytest.mark.slow
LIVE = 8  # problems


async def samples(plan: BenchPlan, engine: Any, judge: Any) -> list[dict[str, Any]]:
    async with engine, judge:
        rows = await asyncio.gather(*(answer(job, plan, engine, judge) for job in plan.jobs()))
    return [{k: v for k, v in row.items() if k not in ("wall_s", "prefilled")} for row in rows]


def test_what_is_learned_from_recorded_chains_stops_live_ones(tmp_path: Path) -> None:
    from satisfice.engines.local.engine import LocalEngine

    task = load_task("chain-sum:hard", split="calibration", limit=130)
    plan = RecordPlan(model="pocket", tasks=(task,), limit=130, split="calibration", hidden=(2, -1))
    asyncio.run(record(plan, LocalEngine("pocket", rows=288, batch=96), tmp_path / "chains"))
    recording = Recording(tmp_path / "chains")
    for rule in ("lynx", "specexit", "stop-value"):
        artefact = calibrate(rule, recording)
        assert artefact.weights, "it says which weights it was learned from"
        artefact.save(tmp_path / f"{rule}.json")
    lynx, head = (f'{rule}(artefact="{tmp_path / rule}.json"' for rule in ("lynx", "specexit"))
    (found,) = effects(recording, [f"{lynx}, delta=0.1)"])
    assert found.saving > 0.1
    assert found.lost.mean() < 0.15
    with pytest.raises(NotRecorded, match="hidden state"):
        effects(recording, [head + ")"])
    value = f'stop-value(artefact="{tmp_path / "stop-value"}.json", price=1)'
    specs = f"full, {lynx}, delta=0.1), {value}, {head}, confidence=0.5, progress=0.2)"
    policies = {canonical(p): p for p in parse_policies(specs)}
    few = load_task("chain-sum:hard", split="calibration", limit=LIVE)
    live = BenchPlan(models=("pocket",), tasks=(few,), policies=policies, limit=LIVE)
    rows = asyncio.run(samples(live, LocalEngine("pocket", rows=64, batch=64), Judge((few,))))
    assert not [row["error"] for row in rows if row["error"]]
    spent = [sum(row["spent"] for row in rows if row["policy"] == policy) for policy in policies]
    assert max(spent[1:]) < spent[0]
    observing = ", ".join(list(policies)[:3])
    again = replay_plan(recording, observing, limit=LIVE)
    replayed = asyncio.run(samples(again, ReplayEngine(recording), RecordedVerdicts(recording)))
    assert replayed == rows[: 3 * LIVE]
    looked = rows[2 * LIVE : 3 * LIVE]
    assert [seen(row) for row in looked] == [learned(recording, row, tmp_path / "stop-value.json") for row in looked]


def seen(row: dict[str, Any]) -> list[float]:
    """The gains of stopping that the rule saw live."""
    return [round(event["data"]["value"], 4) for event in row["log"] if event["kind"] == "look"]


def learned(recording: Recording, row: dict[str, Any], artefact: Path) -> list[float]:
    """The gains at the same looks, from what it learned from: a trace of the recorded chain."""
    [chain] = [recording.chain(one) for one in recording.rows.values() if one.problem == row["problem"]]
    trace = trace_of(chain, recording.profile.answer_end, recording.decode)
    network = load_artefact(str(artefact), "stop-value").network
    column = PRICES.index(1.0) * DATES
    looks = len(seen(row))
    return [
        round(float(network(features(trace.looks[: at + 1]))[column + min(at, DATES - 1)]), 4) for at in range(looks)
    ]

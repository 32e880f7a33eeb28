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
    for rule in ("lynx", "specexit"):
        artefact = calibrate(rule, recording)
        assert artefact.weights, "it says which weights it was learned from"
        artefact.save(tmp_path / f"{rule}.json")
    lynx, head = (f'{rule}(artefact="{tmp_path / rule}.json"' for rule in ("lynx", "specexit"))
    (found,) = effects(recording, [f"{lynx}, delta=0.1)"])
    assert found.saving > 0.1
    assert found.lost.mean() < 0.15
    with pytest.raises(NotRecorded, match="hidden state"):
        effects(recording, [head + ")"])
    policies = {
        canonical(p): p for p in parse_policies(f"full, {lynx}, delta=0.1), {head}, confidence=0.5, progress=0.2)")
    }
    few = load_task("chain-sum:hard", split="calibration", limit=LIVE)
    live = BenchPlan(models=("pocket",), tasks=(few,), policies=policies, limit=LIVE)
    rows = asyncio.run(samples(live, LocalEngine("pocket", rows=64, batch=64), Judge((few,))))
    assert not [row["error"] for row in rows if row["error"]]
    spent = [sum(row["spent"] for row in rows if row["policy"] == policy) for policy in policies]
    assert max(spent[1:]) < spent[0]
    observing = ", ".join(list(policies)[:2])
    again = replay_plan(recording, observing, limit=LIVE)
    replayed = asyncio.run(samples(again, ReplayEngine(recording), RecordedVerdicts(recording)))
    assert replayed == rows[: 2 * LIVE]

"""A recording serves the same chains again, cut wherever asked now, and refuses what it does not hold."""

import asyncio
from pathlib import Path

import pytest
from tests.engines.local.test_engine import PROBLEMS, Full, Looker, tokens

from satisfice.core.chain import Chain
from satisfice.core.engine import Request, Signals
from satisfice.core.errors import BadInput, NotRecorded
from satisfice.core.session import Session, solve
from satisfice.engines.cassette import CassetteEngine, CassetteRecorder
from satisfice.engines.local.engine import LocalEngine


class StopsAtSecondLook:
    async def __call__(self, session: Session) -> Chain:
        chain = session.chain()
        looks = 0
        while await chain.think(["t", "\n", "3+"], limit=9):
            trial = chain.probe().inject("</think> Wait")
            await trial.sample(4, greedy=True, signals=Signals(logprobs=True))
            trial.drop()
            looks += 1
            if looks == 2:
                return await chain.close_thinking()
        return await chain.finish()


@pytest.fixture(scope="module")
def recording(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "chains.jsonl"

    async def go() -> None:
        async with CassetteRecorder(LocalEngine(str(tiny)), path) as engine:
            await asyncio.gather(*(solve(Looker(), Session(engine, p, seed=3)) for p in PROBLEMS[:6]))  # type: ignore[arg-type]

    asyncio.run(go())
    return path


def test_replayed_policies_give_the_live_tokens_and_ledgers(tiny: Path, recording: Path) -> None:
    async def go() -> None:
        replay = CassetteEngine(recording)
        async with LocalEngine(str(tiny)) as live:
            for policy in (Full(), Looker()):
                for problem in PROBLEMS[:6]:
                    now = await solve(policy, Session(replay, problem, seed=3))  # type: ignore[arg-type]
                    then = await solve(policy, Session(live, problem, seed=3))  # type: ignore[arg-type]
                    assert tokens(now) == tokens(then)
                    assert now.text == then.text
                    assert (now.ledger.kept, now.ledger.probe) == (then.ledger.kept, then.ledger.probe)

    asyncio.run(go())


def test_what_was_not_recorded_is_refused_by_name(recording: Path) -> None:
    async def go() -> None:
        replay = CassetteEngine(recording)
        with pytest.raises(NotRecorded, match="no problem"):
            replay.open("What is 99+99?", "99")
        with pytest.raises(NotRecorded, match="no tokens for the text"):
            replay.encode("never said")
        other_seed = await solve(Full(), Session(replay, PROBLEMS[0], seed=4))  # type: ignore[arg-type]
        assert "NotRecorded" in other_seed.error
        stopped = [await solve(StopsAtSecondLook(), Session(replay, p, seed=3)) for p in PROBLEMS[:6]]  # type: ignore[arg-type]
        early = [s for s in stopped if any(e.kind == "inject" and e.chain == "0" for e in s.log)]
        assert early
        assert all("NotRecorded" in s.error for s in early)  # the answer after an early stop was never sampled
        sequence = replay.open(PROBLEMS[0].question, PROBLEMS[0].id)
        with pytest.raises(NotRecorded, match="hidden states"):
            await sequence.sample(Request(limit=3, signals=Signals(hidden=(0,))))

    asyncio.run(go())


def test_recordings_are_never_written_over_and_read_as_hostile(tiny: Path, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="exists already"):
        CassetteRecorder(LocalEngine(str(tiny)), recording)
    with pytest.raises(BadInput, match="cannot be read"):
        CassetteEngine(tmp_path / "none.jsonl")
    whole = recording.read_text().splitlines()
    for name, lines in {
        "torn": [*whole[:-1], whole[-1][: len(whole[-1]) // 2]],
        "header": whole[2:3],
        "kind": [*whole, '{"do": "rm"}'],
        "type": [*whole, "[1]"],
    }.items():
        broken = tmp_path / f"{name}.jsonl"
        broken.write_text("\n".join(lines))
        with pytest.raises(BadInput, match=str(broken)):
            CassetteEngine(broken)

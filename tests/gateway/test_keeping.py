"""Questions are kept only where told to: a fair sample, redacted, for so many days, in a file of the owner's."""

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.servers import LoopbackServer
from tests.gateway.serving import served, upstream
from tests.gateway.test_faults import soon

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.gateway.keeping import Keeper, question_of, redacted
from satisfice.gateway.request import GenerationRequest
from satisfice.gateway.settings import Settings
from satisfice.tasks import load_task


def asked(text: Any, **more: Any) -> GenerationRequest:
    messages = more.pop("messages", [{"role": "user", "content": text}])
    return GenerationRequest(chat=True, messages=messages, fields=more)


def test_a_fair_sample_is_kept(tmp_path: Path) -> None:
    counts = [0] * 40
    for run in range(150):
        keeper = Keeper(tmp_path / f"{run}.jsonl", 10, 30)
        for n in range(40):
            keeper.offer(asked(f"what is {n}?"))
        assert len(keeper.rows) == 10
        for row in keeper.rows:
            counts[int(row["question"][8:-1])] += 1
    assert min(counts) > 10  # each of 40 is expected 37.5 times
    assert max(counts) < 70


def test_what_is_kept_can_be_recommended_from_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    keeper = Keeper(path, 5, 30)
    assert keeper.offer(asked("1 + 1?"))
    assert not keeper.offer(asked("1 + 1?"))  # the same again
    assert keeper.offer(asked([{"type": "text", "text": "2 + 2?"}]))
    keeper.write()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [problem.question for problem in load_task(str(path)).problems] == ["1 + 1?", "2 + 2?"]
    again = Keeper(path, 5, 30)
    assert (again.rows, again.came) == (keeper.rows, 3)


def test_old_questions_go(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    row = {"id": "a", "question": "1 + 1?", "answer": "unknown", "kept_on": "2020-01-01", "came": 7}
    path.write_text(json.dumps(row) + "\n", "utf-8")
    keeper = Keeper(path, 5, 30)
    assert keeper.rows == []
    assert path.read_text("utf-8") == ""


@pytest.mark.parametrize(
    "request_",
    [
        asked("x", messages=[{"role": "system", "content": "be kind"}, {"role": "user", "content": "1 + 1?"}]),
        asked([{"type": "image_url", "image_url": {"url": "data:"}}]), asked("1 + 1?", tools=[{"type": "function"}]),
        asked("y" * 30_000), asked(None), GenerationRequest(chat=False, prompts=["1 + 1"], fields={}),
    ],
)  # fmt: skip
def test_what_is_no_question_by_itself_is_passed(request_: GenerationRequest) -> None:
    assert question_of(request_) == ""


@given(st.text(max_size=300))
def test_redaction_takes_any_text(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


def test_what_is_taken_out() -> None:
    said = redacted(
        "mail me at a.b@c.de or https://x.y/z?token=1, +49 (30) 123-4567; 17 * 250000 - 100 - 200 - 300 = ?"
    )
    assert said == "mail me at [address] or [link] [number]; 17 * 250000 - 100 - 200 - 300 = ?"


@pytest.mark.parametrize("text", ["no json", '{"id": 1}', "[1]"])
def test_another_file_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(CannotWrite, match="something else than kept questions"):
        Keeper(path, 5, 30)
    assert path.read_text("utf-8") == text


def test_the_gateway_keeps_nothing_unless_told_and_then_no_more_than_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="keep-for-calibration"):
        Settings(keep_for_calibration=-1)
    path = tmp_path / "kept.jsonl"
    for most in (0, 2):
        settings = Settings(keep_for_calibration=most, kept_file=str(path))
        with LoopbackServer() as server, served(upstream(server.url), settings) as gateway:
            for n in range(4):
                body = {"messages": [{"role": "user", "content": f"{n} + 1?"}]}
                httpx.post(f"{gateway.url}/v1/chat/completions", json=body, trust_env=False).raise_for_status()
            if most:
                soon(lambda: len(path.read_text("utf-8").splitlines()) == 2)
            assert path.exists() == (most > 0)

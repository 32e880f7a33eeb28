"""The contract of engines: every engine there is passes the one suite, and a broken one does not."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engines.servers import LoopbackServer
from tests.recordings.test_record import Compare

from satisfice.core.card import Need
from satisfice.core.engine import Engine, Request, Sampled
from satisfice.core.problem import Problem, Verdict
from satisfice.engines.checks import check_length
from satisfice.engines.http.engine import HttpEngine
from satisfice.engines.local.engine import LocalEngine
from satisfice.engines.scripted import END, SCRIPTED, ScriptedEngine, ScriptedSequence
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.replay import ReplayEngine
from satisfice.tasks import Task
from satisfice.testing import check_engine
from satisfice.testing.method import Faulty

STORY = "12+34=46 so 46\nWait, 46-34=12 yes\nWait, once more so 46</think>46"
SKIPS = {
    "local": {"ends_thinking_at_a_budget"},
    "scripted": {"gives_its_output_matrix"},
    "replay": {"renders", "biases_and_filters", "gives_its_output_matrix", "ends_thinking_at_a_budget"},
    "ids": {"gives_entropy", "gives_hidden_states", "biases_and_filters", "gives_its_output_matrix"},
    "text": {"gives_entropy", "gives_hidden_states", "biases_and_filters", "gives_its_output_matrix",
             "gives_likeliest_tokens", "ends_thinking_at_a_budget"},
    "plain": {"gives_entropy", "gives_hidden_states", "biases_and_filters", "gives_its_output_matrix",
              "gives_likeliest_tokens", "ends_thinking_at_a_budget", "gives_logprobs", "stops_at_a_signal"},
}  # fmt: skip
"""What each engine's `provides` rules out; the page on engines has the same table."""


def told(so_far: str, request: Request) -> dict[str, float]:
    """A story with two other things to say at each token."""
    rest = STORY[len(so_far) :] if STORY.startswith(so_far) else ""
    return {rest or END: 0.8, "x": 0.15, "y": 0.05}


@pytest.mark.parametrize("compiled", [None, False], ids=["kernel", "torch"])
def test_local(tiny: Path, compiled: bool | None) -> None:
    assert set(check_engine(lambda: LocalEngine(str(tiny), compiled=compiled))) == SKIPS["local"]


def test_scripted() -> None:
    assert set(check_engine(lambda: ScriptedEngine(told))) == SKIPS["scripted"]


def test_replay(tmp_path: Path) -> None:
    problem = Problem(id="check", task="t@1", question="What is 12+34?", answer="46")
    task = Task(name="t@1", split="eval", problems=(problem,), _score=lambda p, a: Verdict.UNKNOWN)
    plan = RecordPlan(
        model="scripted", tasks=(task,), top_logprobs=20, hidden=(-1,), hidden_first=40, temperature=0.0, every=3
    )
    asyncio.run(record(plan, ScriptedEngine(told), tmp_path / "r", judge=Compare()))
    assert set(check_engine(lambda: ReplayEngine(tmp_path / "r"))) == SKIPS["replay"]


@pytest.mark.parametrize("kind", ["ids", "text", "plain"])
def test_http(tiny: Path, kind: str) -> None:
    from transformers import AutoTokenizer

    options: dict[str, Any] = {
        "ids": {"tokenizer": AutoTokenizer.from_pretrained(tiny), "budget": "thinking_token_budget"},
        "text": {},
        "plain": {"logprobs": False, "usage": False},
    }[kind]
    with LoopbackServer(**options) as server:
        more = {"tokenizer": str(tiny)} if kind == "ids" else {"profile": SCRIPTED}
        assert set(check_engine(lambda: HttpEngine(server.url, **more))) == SKIPS[kind]


def test_the_table_in_the_docs_is_what_is_left_out() -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    found: dict[str, set[str]] = {name: set() for name in SKIPS}
    for first, *cells in rows:
        checks = re.findall(r"`(\w+)`", first)
        if len(cells) == len(SKIPS) + 1 and checks:
            for name, cell in zip(SKIPS, cells, strict=False):
                found[name] |= set(checks) if cell == "left out" else set()
    assert found == SKIPS


class Wrong(ScriptedSequence):
    """One sequence of an engine with a fault."""

    fault = ""

    def fork(self, length: int) -> "Wrong":
        check_length(length, self.ids)
        ids = self.ids if self.fault == "shares" and length else self.ids[:length]
        return type(self)(self._engine, ids, self._prompt)

    def cut(self, length: int) -> None:
        check_length(length, self.ids)
        if self.fault != "keeps":
            super().cut(length)

    async def sample(self, request: Request) -> Sampled:
        if self.fault == "hangs" and request.limit == 0:
            await asyncio.sleep(3600)
        if self.fault == "deaf" and len(request.stop_texts) > 1:
            request = replace(request, stop_texts=())
        got = await super().sample(replace(request, limit=request.limit + (self.fault == "greedy")))
        return replace(got, cut=got.cut + 1) if self.fault == "late" and got.reason == "text" else got


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("shares", "forks"), ("keeps", "cuts"), ("greedy", "samples_up_to_a_limit"), ("deaf", "stops_at_a_text"),
        ("late", "stops_at_a_text"), ("hangs", "answers_at_once_without_room: no answer within"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_found(monkeypatch: pytest.MonkeyPatch, fault: str, check: str) -> None:
    monkeypatch.setattr("satisfice.testing.engines.SOON_S", 0.5)

    class Sequence(Wrong):
        pass

    Sequence.fault = fault

    class Broken(ScriptedEngine):
        def open_prompt(self, prompt: str | list[int], label: str) -> ScriptedSequence:
            return Sequence(self, list(super().open_prompt(prompt, label).ids))

    make: Callable[[], Engine] = lambda: Broken(told)  # noqa: E731
    with pytest.raises(Faulty, match=f"scripted, {check}"):
        check_engine(make)


def test_a_claim_to_provide_what_is_not_there_is_found() -> None:
    with pytest.raises(Faulty, match="gives_its_output_matrix: Unfit"):
        check_engine(lambda: ScriptedEngine(told, provides=frozenset(Need)))

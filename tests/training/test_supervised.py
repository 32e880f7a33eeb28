"""Training on data: real trainings of a few updates by TRL, resumed after a kill, and what is refused before them."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from satisfice.cli.main import main
from satisfice.core.builder import BUILDER, Builder
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.token_loss import error_norm
from satisfice.methods.denoising import Ent
from satisfice.methods.tuning import FirstCorrect, ShortLong
from satisfice.models.resolve import model_folder
from satisfice.models.words import TokenizerWords
from satisfice.testing import trace
from satisfice.training.data_plan import DataPlan
from satisfice.training.rows import Data, lines

NEEDS_TRL = pytest.mark.skipif(find_spec("trl") is None, reason="needs the extra `train`")
HOWS = {"sft": FirstCorrect(), "dpo": ShortLong(), "dpo-norm": ShortLong(), "kto": ShortLong(), "simpo": ShortLong()}


def some_data(builder: Builder, problems: int = 8) -> Data:
    """Return rows in the pocket reasoner's tokens, made of chains that are no sums of its own."""
    words = TokenizerWords(model_folder("pocket"))
    chains = []
    for p in range(problems):
        for n in (1, 2, 3):
            one = trace(f"1+{p}={1 + p}\nso 4\n", *["Wait, 4 ok\n"] * n, problem=f"p{p}", name=str(n))
            text = one.text(0, one.thinking)
            ids = tuple(words.encode(text))
            pieces = tuple(words.piece(i).decode() for i in ids)
            looks = tuple(
                replace(look, at=min(look.at, len(ids) - 1), ids=tuple(words.encode("4"))) for look in one.looks
            )
            tail = (*words.encode("</think>4"), *words.encode("<|end|>"))
            chains.append(
                replace(
                    one, prompt=tuple(words.encode(f"1+{p}=")), ids=(*ids, *tail),
                    pieces=(*pieces, "</think>", "4", ""), thinking=len(ids), looks=looks,
                )
            )  # fmt: skip
    rows = list(lines(builder(chains), words.encode, lambda ids: words.decode(list(ids))))
    header = {
        "makes": builder.makes,
        "how": builder.card.id,
        "model": "pocket",
        "recordings": [{"chains": len(chains)}],
    }
    return Data(folder=Path("data"), header=header, rows=rows)


def plan(loss: str, **more: object) -> DataPlan:
    settings = {"epochs": 2, "batch": 4, "learning_rate": 1e-3, "save_every": 1, "part": 2} | more
    return DataPlan(model="pocket", data=some_data(HOWS[loss]), loss=loss, **settings)  # type: ignore[arg-type]


def test_a_plan_says_what_is_wrong_before_anything_is_loaded() -> None:
    with pytest.raises(
        BadInput, match=r"loss: dpo learns from pairs, and data holds rows \(first-correct\). Give --loss sft"
    ):
        DataPlan(model="pocket", data=some_data(FirstCorrect()), loss="dpo")
    with pytest.raises(BadInput, match="Give --loss dpo, dpo-norm, kto or simpo"):
        DataPlan(model="pocket", data=some_data(ShortLong()), loss="sft")
    with pytest.raises(BadInput, match="batch must be at most 24, the number of rows, got 25"):
        plan("sft", batch=25)
    with pytest.raises(BadInput, match="learning-rate must be between 0 and 1"):
        plan("sft", learning_rate=0.0)
    with pytest.raises(UnknownName, match="Did you mean 'sft'"):
        DataPlan(model="pocket", data=some_data(FirstCorrect()), loss="stf")  # type: ignore[arg-type]
    assert plan("sft").updates == 12
    assert plan("sft", batch=5).updates == 10
    assert plan("sft").parts(2) == (2, 1)
    with pytest.raises(BadInput, match="cannot be shared out among 3 processes"):
        plan("sft").parts(3)


def test_the_config_tells_trainings_apart_by_their_rows() -> None:
    one, other = plan("sft"), plan("sft")
    assert one.config("w") == other.config("w")
    data = replace(one.data, rows=[{**one.data.rows[0], "labels": [-100] * 3}, *one.data.rows[1:]])
    assert replace(one, data=data).config("w") != one.config("w")
    assert replace(one, save_every=7).config("w") == one.config("w")
    assert plan("dpo").config("w")["beta"] == 0.1
    assert plan("simpo").config("w")["beta"] == 2.0


def test_builders_of_the_table_are_of_the_kind() -> None:
    assert all(BUILDER.accepts(type(builder)) for builder in HOWS.values())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give exactly one of --shaper"),
        (["--data", "d", "--shaper", "grpo"], "give exactly one of --shaper"),
        (["--data", "d", "--steps", "3"], "steps is a setting of trainings with --shaper, and this is one with --data"),
        (["--data", "d", "--limit", "3"], "limit is a setting of trainings with --shaper"),
        (["--shaper", "grpo", "--epochs", "2"], "epochs is a setting of trainings with --data"),
        (["--data", "d"], "d/data.json cannot be read"),
    ],
)
def test_the_command_takes_one_sort_of_training(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["satisfice", "train", "--out", "out", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())


@NEEDS_TRL
@pytest.mark.slow
@pytest.mark.parametrize("loss", HOWS)
def test_each_loss_trains_and_leaves_a_model(tmp_path: Path, loss: str) -> None:
    from satisfice.training.folder import read_steps
    from satisfice.training.supervised import train_on_data

    train_on_data(plan(loss), tmp_path / "out")
    steps = read_steps(tmp_path / "out")
    assert [row["step"] for row in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == plan(loss).updates
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert (tmp_path / "out" / "model" / "profile.json").is_file()


@NEEDS_TRL
def test_a_weighed_loss_is_the_plain_one_where_every_token_counts() -> None:
    from types import SimpleNamespace

    import torch

    from satisfice.training.supervised import weighed_loss

    torch.manual_seed(0)
    logits = 6 * torch.randn(2, 5, 7)
    labels = torch.tensor([[-100, 1, 2, -100, 3], [0, 6, -100, -100, -100]])
    outputs = SimpleNamespace(logits=logits)
    plain = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    assert weighed_loss(Ent(begin=1), lambda: 0)(outputs, labels) == pytest.approx(plain.item(), abs=1e-5)
    seen = []

    def all_but_the_worst(error: np.ndarray, step: int) -> np.ndarray:
        seen.append((error, step))
        return (error < error.max()).astype(float)

    less = weighed_loss(all_but_the_worst, lambda: 3)(outputs, labels, torch.tensor(4))  # type: ignore[arg-type]
    ((error, step),) = seen
    wanted = [(0, 0, 1), (0, 1, 2), (0, 3, 3), (1, 0, 6)]
    own = [error_norm(logits[i, t].softmax(-1).double().numpy(), y) for i, t, y in wanted]
    assert (error, step) == (pytest.approx(own, abs=1e-5), 3)
    each = [-logits[i, t].log_softmax(-1)[y].item() for i, t, y in wanted]
    assert less.item() == pytest.approx((sum(each) - each[int(error.argmax())]) / 4, abs=1e-5)


@NEEDS_TRL
@pytest.mark.slow
def test_a_token_loss_trains(tmp_path: Path) -> None:
    from satisfice.training.folder import read_steps
    from satisfice.training.supervised import train_on_data

    train_on_data(plan("sft", token_loss=Ent(begin=2)), tmp_path / "out")
    assert len(read_steps(tmp_path / "out")) == 12
    with pytest.raises(BadInput, match="ent goes with --loss sft"):
        plan("dpo", token_loss=Ent())


@NEEDS_TRL
@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from satisfice.training.supervised import train_on_data
    from satisfice.training.watcher import Watcher

    class Stop(Exception):
        pass

    def stop(row: dict[str, object]) -> None:
        if row["step"] == 5:
            raise Stop

    train_on_data(plan("sft"), tmp_path / "whole")
    with pytest.raises(Stop):
        train_on_data(plan("sft"), tmp_path / "cut", watcher=Watcher(step=stop))
    begun = []
    train_on_data(plan("sft"), tmp_path / "cut", watcher=Watcher(start=lambda done, size: begun.append((done, size))))
    assert begun == [(4, 12)]
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert all((whole[name] == cut[name]).all() for name in whole)
    rows = [json.loads(line)["step"] for line in (tmp_path / "cut" / "steps.jsonl").read_text().splitlines()]
    assert rows == list(range(1, 13))
    with pytest.raises(BadInput, match="another config"):
        train_on_data(plan("sft", batch=2), tmp_path / "cut")


@NEEDS_TRL
@pytest.mark.slow
def test_the_loss_is_that_of_tokens_with_the_loss_on() -> None:
    """TRL's mean over labels, compared with ours, on rows of which half is masked."""
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    data = some_data(FirstCorrect(), 2)
    rows = [{"input_ids": row["input_ids"], "labels": [-100] * 8 + row["labels"][8:]} for row in data.rows]
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(rows)
    model = AutoModelForCausalLM.from_pretrained(model_folder("pocket"), local_files_only=True, dtype=torch.float32)
    with torch.no_grad():
        out = model(**batch)
        logprobs = out.logits[:, :-1].log_softmax(-1)
        wanted = batch["labels"][:, 1:]
        own = -logprobs.gather(-1, wanted.clamp(min=0)[..., None])[..., 0][wanted != -100].mean()
    assert out.loss.item() == pytest.approx(own.item(), abs=1e-5)
    assert int((wanted != -100).sum()) == sum(label != -100 for row in rows for label in row["labels"])


@NEEDS_TRL
def test_data_of_another_tokenizer_or_too_long_is_refused(tmp_path: Path) -> None:
    from satisfice.training.supervised import check_model, kto_rows, length

    data = some_data(FirstCorrect(), 2)
    check_model(data, "pocket", model_folder("pocket"))
    other = replace(data, header={**data.header, "sample": {"ids": [5], "texts": ["?!"]}})
    with pytest.raises(BadInput, match="another tokenizer than pocket: token 5 is '\\?!' there"):
        check_model(other, "pocket", model_folder("pocket"))
    long = replace(data, rows=[{"input_ids": [5] * 100_000, "labels": [5] * 100_000}])
    with pytest.raises(BadInput, match="has 100000 tokens, and pocket reads"):
        check_model(long, "pocket", model_folder("pocket"))
    pairs = some_data(ShortLong(), 3).rows
    assert length(pairs[0]) == len(pairs[0]["prompt_ids"]) + len(pairs[0]["rejected_ids"])
    rows = list(kto_rows(pairs, 4))
    assert [row["label"] for row in rows] == [True, False] * 3
    assert [row["KL_completion_ids"] for row in rows[:4]] == [rows[i]["completion_ids"] for i in (3, 0, 1, 2)]
    assert sorted(map(tuple, (row["KL_completion_ids"] for row in rows))) == sorted(
        tuple(row["completion_ids"]) for row in rows
    )

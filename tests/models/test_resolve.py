"""Names of models become folders: what has to be made is made once, whole or not at all, and never written over."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.engines.conftest import PROFILE

from satisfice.core.errors import BadInput, CannotWrite
from satisfice.engines import load_engine
from satisfice.models import adapters as _adapters
from satisfice.models.resolve import made_once, model_folder, weights_mark

# peft 0.21 asks transformers 5 for a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "satisfice" / "models"


def test_a_folder_and_a_bundled_model_are_taken_as_they_are(tiny: Path, cache: Path) -> None:
    assert model_folder(str(tiny)) == tiny
    assert (model_folder("pocket") / "model.safetensors").is_file()
    assert not cache.exists()


def test_what_was_made_is_not_made_again(cache: Path) -> None:
    def make(folder: Path) -> None:
        assert not list(folder.iterdir())
        (folder / "config.json").write_text("first")

    assert made_once("m", make) == cache / "m"
    made_once("m", lambda folder: pytest.fail("made twice"))
    assert (cache / "m" / "config.json").read_text() == "first"
    assert [path.name for path in cache.iterdir()] == ["m"]


def test_half_a_model_is_never_left_behind(cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "config.json").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        made_once("m", make)
    assert not list(cache.iterdir())
    assert made_once("m", lambda folder: (folder / "config.json").write_text("whole") and None).is_dir()


def test_of_two_at_the_same_time_the_first_one_stays(cache: Path) -> None:
    meet = threading.Barrier(2, timeout=20)

    def run(text: str) -> None:
        def make(folder: Path) -> None:
            (folder / "config.json").write_text(text)
            meet.wait()  # both are at work

        made_once("m", make)

    workers = [threading.Thread(target=run, args=(text,)) for text in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (cache / "m" / "config.json").read_text() in ("one", "two")
    assert [path.name for path in cache.iterdir()] == ["m"]


def test_a_process_that_saves_nothing_leaves_no_model(cache: Path) -> None:
    with pytest.raises(CannotWrite, match=r"the model m .* only the first process of a distributed job"):
        made_once("m", lambda folder: (folder / "tokenizer.json").write_text("{}") and None)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CannotWrite, match=r"the model m cannot be kept in .*XDG_CACHE_HOME"):
        made_once("m", lambda folder: None)


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes what the model says: its second factors are drawn and not zero."""
    peft = pytest.importorskip("peft", reason="merging adapters needs peft: pip install 'satisfice[smollm2]'")
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters") / "loud"
    base = AutoModelForCausalLM.from_pretrained(tiny)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    wrapped: Any = peft.get_peft_model(base, config)
    torch.manual_seed(3)
    for name, value in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.2)
    wrapped.save_pretrained(folder)
    (folder / "profile.json").write_text(json.dumps({**PROFILE, "name": "loud"}))
    return folder


def test_an_adapter_is_merged_once_and_its_profile_counts(tiny: Path, adapter: Path, cache: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = model_folder(f"{tiny}+{adapter}")
    assert folder.parent == cache
    assert folder.name.startswith(f"{tiny.name}+loud-")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert model_folder(f"{tiny}+{adapter}") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made

    ids = torch.arange(6, 30)[None]
    wrapped = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(adapter))
    merged, plain = AutoModelForCausalLM.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, wrapped(ids).logits, atol=1e-4, rtol=1e-4)
        assert (merged(ids).logits - plain(ids).logits).abs().max() > 0.1
    engine: Any = load_engine(f"{tiny}+{adapter}")
    assert engine.profile.name == "loud"
    assert engine.describe()["weights"] == weights_mark(folder) != weights_mark(tiny)


def test_a_valve_opens_an_adapter_so_far(tiny: Path, adapter: Path) -> None:
    from safetensors.numpy import load_file

    def weights(name: str) -> Any:
        return load_file(model_folder(name) / "model.safetensors")

    closed, half, whole, plain = (
        weights(f"{tiny}{part}")
        for part in (f"+{adapter}+valve(alpha=0)", f"+{adapter}+valve(alpha=0.5)", f"+{adapter}", "")
    )
    for name, value in plain.items():
        assert (closed[name] == value).all()  # 0 gives the base exactly
        assert half[name] == pytest.approx((value + whole[name]) / 2, abs=1e-5)
    assert model_folder(f"{tiny}+{adapter}+valve(alpha=1)") == model_folder(f"{tiny}+{adapter}")
    for part, told in (
        ("valves(alpha=1)", "unknown transform 'valves'"), ("valve(alpha=x)", "takes one number"),
        ("valve(beta=1)", "takes one number"), ("valve()", "takes one number"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=told):
            model_folder(f"{tiny}+{adapter}+{part}")
    with pytest.raises(BadInput, match="valve opens an adapter, so one must stand before it"):
        model_folder("pocket+valve(alpha=0.5)")


def test_other_weights_or_settings_of_an_adapter_are_another_model(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    copy = tmp_path / "loud"
    shutil.copytree(adapter, copy)
    same = model_folder(f"{tiny}+{copy}")
    assert same == model_folder(f"{tiny}+{adapter}")
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 1}))
    assert model_folder(f"{tiny}+{copy}") != same


def test_what_is_no_adapter_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no folder .*nowhere.* with adapter_config\.json"):
        model_folder(f"{tiny}+{tmp_path / 'nowhere'}")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}')
    (tmp_path / "odd" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=r"PREFIX_TUNING adapter; only LORA"):
        model_folder(f"{tiny}+{tmp_path / 'odd'}")


def test_an_adapter_that_does_not_come_along_names_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_adapters, "_known_adapters", lambda base: ["reasoning"])
    with pytest.raises(BadInput, match=r"none of that name comes with satisfice \(there are: reasoning\)"):
        _adapters.adapter_folder("smollm2", "reasonning")


def test_adapters_that_come_along_lie_on_top_of_one_another() -> None:
    assert _adapters._known_adapters("smollm2") == ["reasoning"]
    with pytest.raises(BadInput, match=r"none of that name .*there are: concise-a-dlp, concise-kimi-length"):
        _adapters.adapter_folder("smollm2+reasoning", "concise")
    folder = _adapters.adapter_folder("smollm2+reasoning", "concise-a-dlp")
    assert folder.parent == _adapters.adapter_folder("smollm2", "reasoning")


def test_options_stand_behind_the_name(tiny: Path) -> None:
    engine: Any = load_engine(f"{tiny}?dtype=bfloat16&max_length=200")
    assert engine.describe()["dtype"] == "bfloat16"
    assert engine.max_length == 200
    with pytest.raises(BadInput, match=r"unknown option in the name of a model 'dtyp'.*dtype"):
        load_engine(f"{tiny}?dtyp=float32")

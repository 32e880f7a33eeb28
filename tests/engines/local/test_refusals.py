"""Models that must not or cannot be run are refused with a sentence, before anything is computed."""

from pathlib import Path

import pytest
from tests.engines.conftest import save_tiny

from satisfice.core.errors import BadInput, UnknownName
from satisfice.engines import load_engine


def test_no_such_folder_names_the_bundled_models() -> None:
    with pytest.raises(BadInput, match=r"neither a bundled model \(pocket, smollm2\) nor a folder"):
        load_engine("no-such-model")


def test_pickled_weights_only_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match=r"only pickled weights \(pytorch_model.bin\).*Convert them to safetensors"):
        load_engine(str(tmp_path))


def test_a_folder_without_weights_or_config(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no config\.json"):
        load_engine(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"no \*\.safetensors"):
        load_engine(str(tmp_path))


def test_a_sliding_window_is_refused(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    save_tiny(tmp_path)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    MistralForCausalLM(MistralConfig(vocab_size=300, intermediate_size=32, sliding_window=16, **shape)).save_pretrained(
        tmp_path
    )
    with pytest.raises(BadInput, match="sliding"):
        load_engine(str(tmp_path))


def test_unknown_profile_fields_and_types_are_named(tiny: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(tiny, tmp_path / "m")
    (tmp_path / "m" / "profile.json").write_text(json.dumps({"name": "x", "que": ["Wait"]}))
    with pytest.raises(UnknownName, match="Did you mean 'cues'"):
        load_engine(str(tmp_path / "m"))
    (tmp_path / "m" / "profile.json").write_text(json.dumps({"name": "x", "max_tokens": "many"}))
    with pytest.raises(BadInput, match="max_tokens must be a int"):
        load_engine(str(tmp_path / "m"))


@pytest.mark.parametrize(("option", "value"), [("dtype", "float16"), ("rows", 0), ("batch", 0)])
def test_bad_options(tiny: Path, option: str, value: object) -> None:
    with pytest.raises(BadInput, match=option):
        load_engine(str(tiny), **{option: value})

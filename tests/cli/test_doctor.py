"""Doctor looks at a model's files without its weights, and tells what it saw from what it assumes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from satisfice.cli.doctor import examine, profile_lines
from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.profile import Profile, profile_from

TEMPLATES = Path(__file__).parents[1] / "models" / "templates"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer and a chat template, and neither weights nor profile."""
    from satisfice.models.resolve import model_folder

    for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        shutil.copy(model_folder("pocket") / file, tmp_path / file)
    shutil.copy(TEMPLATES / "magistral.jinja", tmp_path / "chat_template.jinja")
    return tmp_path


def test_a_folder_without_weights(folder: Path) -> None:
    report = examine(str(folder))
    assert report["model"]["engine"] == "local"
    assert report["model"]["weights"] == "none in this folder"
    assert "no *.safetensors weights" in report["model"]["problem"]
    assert report["profile"]["name"] == "mistral"
    assert "[THINK]" in report["profile"]["found"]["thinking"]
    text = "\n".join(profile_lines(report))
    assert "thinks between '[THINK]' and '[/THINK]'" in text
    assert "not found: answer form" in text
    assert "MODEL?profile=" in text
    values = {name: list(v) if isinstance(v, tuple) else v for name, v in report["profile"]["values"].items()}
    assert profile_from(values, "values").think_open == "[THINK]"  # what is shown can be put into profile.json


def test_a_named_profile_and_vllm(folder: Path) -> None:
    report = examine(f"vllm:{folder}?profile=gpt-oss&dtype=auto")
    assert report["model"]["engine"] == "vllm"
    assert report["profile"]["name"] == "harmony"
    assert report["profile"]["source"] == "the name that was given"
    with pytest.raises(UnknownName, match="qwen3"):
        examine(f"{folder}?profile=qwen")


def test_the_pocket_model_has_a_profile_of_its_own() -> None:
    report = examine("pocket")
    assert report["profile"]["source"] == "its profile.json"
    assert report["profile"]["missing"] == []
    assert "problem" not in report["model"]
    assert Profile(**report["profile"]["values"]).cues == ("Check", "Wait", "Hmm")
    assert not any("to say otherwise" in line for line in profile_lines(report))


def test_no_such_model_and_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a bundled model"):
        examine(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="no tokenizer that can be read"):
        examine(str(tmp_path))


def test_without_a_model_nothing_heavy_is_read() -> None:
    code = "import sys, satisfice.cli.doctor; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_whether_small_models_run_through_the_kernel_and_why_not(monkeypatch):
    from satisfice.engines.local.kernel import library

    library.cache_clear()
    monkeypatch.setenv("SATISFICE_KERNEL", "0")
    assert examine()["kernel"] == {"ready": False, "why": "switched off by SATISFICE_KERNEL=0"}
    library.cache_clear()
    monkeypatch.delenv("SATISFICE_KERNEL")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert examine()["kernel"] == {"ready": False, "why": "no C compiler (cc) on this machine"}
    library.cache_clear()

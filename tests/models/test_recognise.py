"""How a model thinks is read from its chat template: stand-ins for the known families, and real templates."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.engines.conftest import save_tiny

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.profile import HARMONY, QWEN3, R1
from satisfice.engines import load_engine
from satisfice.methods.stopping.budget_forcing import BudgetForcing
from satisfice.models.recognise import Recognised, read_template, recognise
from satisfice.models.words import TokenizerWords

TEMPLATES = Path(__file__).parent / "templates"


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def read(tokenizer: Any, template: str, **more: Any) -> Recognised:
    def render(messages: Any, **variables: Any) -> str:
        return str(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **variables))

    return read_template(template, render, **more)


def opened(tokenizer: Any, template: str, **more: Any) -> str:
    """How the prompt of a recognised model ends, with thinking open."""
    from satisfice.models.recognise import ON

    asked = [{"role": "user", "content": "Q"}]
    text = tokenizer.apply_chat_template(
        asked, chat_template=template, tokenize=False, add_generation_prompt=True, **ON
    )
    return read(tokenizer, template, **more).profile.opened(text).rpartition("Q")[2]


@pytest.mark.parametrize(
    ("name", "kind", "profile", "end"),
    [
        ("qwen3", "qwen3", QWEN3, "<|im_end|>\n<|im_start|>assistant\n<think>\n"),
        ("qwq", "qwen2", R1, "<|im_end|>\n<|im_start|>assistant\n<think>\n"),
        ("r1-distill", "llama", R1, "<｜Assistant｜><think>\n"),
        ("phi4-reasoning", "phi3", R1, "<|im_end|><|im_start|>assistant<|im_sep|><think>\n"),
        ("gpt-oss", "gpt_oss", HARMONY, "<|end|><|start|>assistant<|channel|>analysis<|message|>"),
        ("on-request", "deepseek_v3", R1, "<|assistant|><think>"),
    ],
)
def test_families_are_told_apart_and_opened_as_they_were_trained(
    tokenizer: Any, name: str, kind: str, profile: Any, end: str
) -> None:
    template = (TEMPLATES / f"{name}.jinja").read_text("utf-8")
    assert read(tokenizer, template, kind=kind).profile == profile
    assert opened(tokenizer, template, kind=kind) == end


def test_other_tags_change_all_that_speaks_of_them(tokenizer: Any) -> None:
    template = (TEMPLATES / "magistral.jinja").read_text("utf-8")
    found = read(tokenizer, template, ends=("</s>",))
    assert (found.profile.think_open, found.profile.think_close) == ("[THINK]", "[/THINK]")
    for text in (
        found.profile.close_thinking,
        found.profile.skip_thinking,
        found.profile.words("s1-budget-forcing", BudgetForcing.words).close_at_budget,
    ):
        assert "[/THINK]" in text
        assert "think>" not in text
    assert opened(tokenizer, template) == "[/INST][THINK]\n"
    assert found.found["end of turn"] == "</s>"
    assert not [line for line in found.missing if line.startswith(("end of turn", "thinking"))]


def test_who_opens_thinking_and_what_switches_it_is_said(tokenizer: Any) -> None:
    def found(name: str) -> Any:
        return read(tokenizer, (TEMPLATES / f"{name}.jinja").read_text("utf-8")).found

    assert found("r1-distill")["thinking opened by"] == "the template"
    assert found("qwen3")["thinking opened by"].startswith("satisfice")
    assert found("qwen3")["switches"].startswith("enable_thinking")
    assert "on request" not in found("qwen3")
    assert found("on-request")["on request"].startswith("the template thinks only when it is told to")
    assert found("gpt-oss")["switches"].startswith("reasoning_effort")


def test_what_was_not_seen_is_said_with_a_way_out(tokenizer: Any) -> None:
    found = read(tokenizer, (TEMPLATES / "no-thinking.jinja").read_text("utf-8"), ends=("</s>",))
    assert found.profile == R1
    lines = "\n".join(found.missing)
    assert "thinking tags: none seen" in lines
    assert "the template writes '[end]' behind an answer, which is none of the tokens that end a turn" in lines
    assert "answer form" in lines
    assert "`cues`" in lines


def test_added_tokens_alone_are_enough(tokenizer: Any) -> None:
    template = (TEMPLATES / "no-thinking.jinja").read_text("utf-8")
    found = read(tokenizer, template, vocabulary=("<seed:think>", "</seed:think>"))
    assert found.profile.think_close == "</seed:think>"
    assert "vocabulary" in found.found["thinking"]


@pytest.mark.parametrize("template", ["", "{{ raise_exception('no') }}", "{% for"])
def test_no_template_or_a_broken_one_is_said(tokenizer: Any, template: str) -> None:
    found = read(tokenizer, template)
    assert any(line.startswith("chat form:") for line in found.missing) or not template
    assert found.profile == R1


def test_a_folder_is_read_without_weights_and_its_own_profile_settles_everything(tiny: Path, tmp_path: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        shutil.copy(tiny / file, tmp_path / file)
    words = TokenizerWords(tmp_path)
    assert words.profile == R1
    assert recognise(tmp_path, words.tokenizer).found["thinking opened by"] == "the template"
    shutil.copy(tiny / "profile.json", tmp_path / "profile.json")
    assert recognise(tmp_path, words.tokenizer).source == "its profile.json"
    assert TokenizerWords(tmp_path).profile.name == "tiny"
    (tmp_path / "profile.json").write_text('{"name": "x", "cue": ["Wait"]}')
    with pytest.raises(UnknownName, match=r"'cue'.*Did you mean 'cues'"):
        TokenizerWords(tmp_path).profile  # noqa: B018
    (tmp_path / "profile.json").write_text("not JSON")
    with pytest.raises(BadInput, match="cannot be read as JSON"):
        TokenizerWords(tmp_path).profile  # noqa: B018


def test_the_local_engine_takes_what_was_recognised_or_named(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    (folder / "profile.json").unlink()
    (folder / "chat_template.jinja").write_text((TEMPLATES / "gpt-oss.jinja").read_text("utf-8"))
    engine: Any = load_engine(str(folder))
    assert engine.profile == HARMONY
    assert engine.render("Q").endswith("<|start|>assistant<|channel|>analysis<|message|>")
    assert engine.render("Q") == TokenizerWords(folder).render("Q", engine.profile)
    named: Any = load_engine(f"{folder}?profile=qwen3")
    assert named.profile == QWEN3
    (tmp_path / "own.json").write_text(json.dumps({"name": "own", "cues": ["Nun"]}))
    filed: Any = load_engine(f"{folder}?profile={tmp_path / 'own.json'}")
    assert filed.profile.cues == ("Nun",)
    with pytest.raises(UnknownName, match=r"unknown profile 'qwen'.*Did you mean 'qwen3'"):
        load_engine(f"{folder}?profile=qwen")


# The real ones: TRL carries the chat templates of the models that it knows.
REAL = {
    "deepseek_r1_distill": (R1, "<｜Assistant｜><think>\n"),
    "qwen3": (QWEN3, "<|im_start|>assistant\n<think>\n"),
    "qwen3_5_nothink": (QWEN3, "<|im_start|>assistant\n<think>\n"),
    "qwen3_6": (QWEN3, "<|im_start|>assistant\n<think>\n"),
    "gptoss": (HARMONY, "<|start|>assistant<|channel|>analysis<|message|>"),
    "glm4moe": (R1, "<|assistant|><think>\n"),
    "nemotron_3_nano": (R1, "<|im_start|>assistant\n<think>\n"),
}


@pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="TRL, which carries real templates, is not installed"
)
@pytest.mark.parametrize("name", [*REAL, "gemma4", "llama3_1"])
def test_real_templates(tokenizer: Any, name: str) -> None:
    spec = importlib.util.find_spec("trl")
    assert spec is not None
    assert spec.origin is not None
    template = (Path(spec.origin).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")
    kind = "qwen3" if name.startswith("qwen3") else ""
    found = read(tokenizer, template, kind=kind)
    if name in REAL:
        profile, end = REAL[name]
        assert found.profile == profile
        assert opened(tokenizer, template, kind=kind).endswith(end)
        assert "thinking" in found.found
    elif name == "gemma4":
        assert (found.profile.think_open, found.profile.think_close) == ("<|channel>thought\n", "<channel|>")
        assert opened(tokenizer, template).endswith("<|turn>model\n<|channel>thought\n")
        assert "on request" in found.found
    else:
        assert any(line.startswith("thinking tags") for line in found.missing)

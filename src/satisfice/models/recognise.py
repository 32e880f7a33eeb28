"""What a model's tokenizer and chat template tell about how it thinks; no weights are read.

Templates do not say everything. What was seen is kept apart from what is assumed, so that `satisfice doctor` can name
both, and a person can give what is missing.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.core.profile import HARMONY, QWEN3, R1, Profile, profile_from, with_tags

Messages = list[dict[str, str]]
Render = Callable[..., str]
"""Messages, and variables of the template by name, to a prompt."""

TAGS: Mapping[tuple[str, str], str] = {
    ("<think>", "</think>"): "r1",  # DeepSeek, Qwen, GLM, Phi, Nemotron, MiniMax
    ("[THINK]", "[/THINK]"): "mistral",  # Magistral, Ministral
    ("<|channel>thought\n", "<channel|>"): "gemma",
    ("<|START_THINKING|>", "<|END_THINKING|>"): "cohere",
    ("<seed:think>", "</seed:think>"): "seed",
    ("◁think▷", "◁/think▷"): "kimi",
    ("<thinking>", "</thinking>"): "thinking",
    ("<thought>", "</thought>"): "thought",
    ("<reasoning>", "</reasoning>"): "reasoning",
}
"""Pairs that thinking is known to stand between, and a name for each."""

HARMONY_TURN = "<|start|>assistant"
"""How gpt-oss's chat form ends."""

ON: Mapping[str, Any] = {"enable_thinking": True, "thinking": True}
"""Given to every template, so that models that think on request are asked to; other templates ignore them."""

SWITCHES = ("enable_thinking", "thinking", "reasoning_effort")
"""Variables by which templates switch thinking on and off, or say how much of it there shall be."""

_QUESTION = "What is 12 + 34?"
_ANSWER = "ANSWER-STANDS-HERE"


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """A profile, and where it comes from."""

    profile: Profile
    found: Mapping[str, str]  # what -> what was seen, in words
    missing: tuple[str, ...] = ()  # what was not seen, what is assumed in its place, and how to say otherwise
    source: str = "the chat template"


def recognise(folder: Path, tokenizer: Any) -> Recognised:
    """Look at a model's files. A `profile.json` in the folder settles everything.

    Raises:
        BadInput: that file holds no profile.
    """
    own = folder / "profile.json"
    if own.exists():
        profile = profile_from(_json(own), str(own))
        return Recognised(profile=profile, found={"profile": str(own)}, source="its profile.json")
    template = tokenizer.chat_template
    if isinstance(template, Mapping):  # several, by name
        template = template.get("default") or next(iter(template.values()), "")

    def render(messages: Messages, **variables: Any) -> str:
        return str(
            tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, **{"add_generation_prompt": False, **variables}
            )
        )

    ends = [str(tokenizer.convert_ids_to_tokens(i)) for i in end_ids(folder, tokenizer)]
    kind = ""
    with contextlib.suppress(BadInput):  # doctor works without a config.json, too
        kind = str(_json(folder / "config.json").get("model_type", ""))
    return read_template(template or "", render, vocabulary=tuple(tokenizer.get_added_vocab()), ends=ends, kind=kind)


def read_template(
    template: str, render: Render, *, vocabulary: Sequence[str] = (), ends: Sequence[str] = (), kind: str = ""
) -> Recognised:
    """Return what a chat template, the tokens added to a vocabulary, and the texts that end a turn say together.

    `kind` is the `model_type` of the configuration; it decides only between profiles with the same tags.
    """
    found: dict[str, str] = {}
    missing: list[str] = []
    asked = [{"role": "user", "content": _QUESTION}]
    prompt = _rendered(render, asked, add_generation_prompt=True, **ON)
    if prompt is None:
        missing.append(
            "chat form: there is no chat template, or it cannot be rendered. Put a chat_template.jinja into the folder."
        )
    profile = _by_tags(template, prompt or "", vocabulary, kind, found)
    if not found:
        missing.append(
            f"thinking tags: none seen in the template or the vocabulary; {R1.think_open} and {R1.think_close} are "
            "assumed, which a model that was not trained to think will not close."
        )
    if prompt is not None:
        found["thinking opened by"] = _opened_by(prompt, profile)
        if prompt != _rendered(render, asked, add_generation_prompt=True):
            found["on request"] = "the template thinks only when it is told to, and satisfice tells it"
    if switches := _switches(template):
        found["switches"] = f"{', '.join(switches)} (variables of the template)"
    _turn_end(render, ends, found, missing)
    missing += [
        f"answer form: no template says it; {profile.answer_form} is assumed (`answer_form`: boxed or plain).",
        f"cues and steps: no template says them; {', '.join(profile.cues)} and {profile.step!r} are assumed (`cues`, "
        "`step`).",
    ]
    return Recognised(profile=profile, found=found, missing=tuple(missing))


def _by_tags(template: str, prompt: str, vocabulary: Sequence[str], kind: str, found: dict[str, str]) -> Profile:
    if "<|channel|>" in template and "analysis" in template:
        found["thinking"] = "between the channels analysis and final (harmony)"
        return HARMONY

    def evidence(tags: tuple[str, str]) -> dict[str, bool]:  # the strongest first
        opens, closes = tags[0].strip(), tags[1]
        return {
            "the prompt ends in it": prompt.rstrip().endswith(opens),
            "the template speaks of it": opens in template and closes in template,
            "both are tokens of the vocabulary": opens in vocabulary and closes in vocabulary,
        }

    best = max(TAGS, key=lambda tags: tuple(evidence(tags).values()))
    seen = [what for what, there in evidence(best).items() if there]
    if not seen:
        return R1
    found["thinking"] = f"{best[0].strip()} ... {best[1]}: {'; '.join(seen)}"
    return QWEN3 if TAGS[best] == "r1" and kind.startswith("qwen3") else _profile_of(best)


def family_of(form: str, words: str = "") -> tuple[Profile, str] | None:
    """Return how a model thinks and what shows it, by its chat form and the first words that it writes after that.

    None where neither shows thinking, or none of a kind that is known.

    >>> family_of("<|user|>1 + 1<|assistant|><think>\\n")[1]
    'its chat form ends in <think>'
    >>> family_of("[INST]1 + 1[/INST]", "[THINK]One")[0].name
    'mistral'
    >>> family_of("<|user|>1 + 1<|assistant|>", "It is 2")
    """
    bare, said = form.rstrip(), words.lstrip()
    for tags in TAGS:
        opens, closes = tags[0].strip(), tags[1].strip()
        if bare.endswith(opens):
            return _profile_of(tags), f"its chat form ends in {opens}"
        if bare.endswith(closes) and bare.removesuffix(closes).rstrip().endswith(opens):
            return _profile_of(tags), f"its chat form ends in empty thinking, {opens} {closes}"
    if bare.endswith(HARMONY_TURN):
        return HARMONY, f"its chat form ends in {HARMONY_TURN}"
    for tags in TAGS:
        if said.startswith(tags[0].strip()):
            return _profile_of(tags), f"it begins with {tags[0].strip()}"
    return None


def _profile_of(tags: tuple[str, str]) -> Profile:
    return R1 if TAGS[tags] == "r1" else with_tags(TAGS[tags], *tags)


def _opened_by(prompt: str, profile: Profile) -> str:
    bare = prompt.rstrip()
    if bare.endswith(profile.think_open.rstrip()):
        return "the template"
    if bare.endswith(profile.think_close.rstrip()):
        return "satisfice, in place of the empty thinking that the template writes"
    return "satisfice; the template leaves it to the model"


def _switches(template: str) -> list[str]:
    import jinja2
    from jinja2 import meta

    with contextlib.suppress(jinja2.TemplateError):
        names = meta.find_undeclared_variables(jinja2.Environment(extensions=["jinja2.ext.do"]).parse(template))
        return [name for name in SWITCHES if name in names]
    return [name for name in SWITCHES if name in template]  # tags that only transformers knows


def _turn_end(render: Render, ends: Sequence[str], found: dict[str, str], missing: list[str]) -> None:
    """Whether what the template writes behind an answer is what the model ends its turn with."""
    if ends:
        found["end of turn"] = " ".join(ends)
    else:
        missing.append("end of turn: neither tokenizer nor generation_config.json name one; chains end at limits only.")
    said: Messages = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
    text = _rendered(render, said)
    behind = text.rpartition(_ANSWER)[2].strip() if text and _ANSWER in text else ""
    if behind and ends and not any(behind.startswith(end) for end in ends):
        missing.append(
            f"end of turn: the template writes {behind[:40]!r} behind an answer, which is none of the tokens that end "
            "a turn. If answers run on, add that token to eos_token_id in generation_config.json."
        )


def _rendered(render: Render, messages: Messages, **variables: Any) -> str | None:
    """Return the rendered prompt, or None where the template fails: it is somebody else's program."""
    try:
        return render(messages, **variables)
    except Exception:  # noqa: BLE001
        return None


def end_ids(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that end a turn: the tokenizer's own, and those that `generation_config.json` lists.

    Without that file those of `config.json` count, as they do for transformers.
    """
    listed: Any = None
    path = next((p for name in ("generation_config", "config") if (p := folder / f"{name}.json").exists()), None)
    if path is not None:
        listed = _json(path).get("eos_token_id")
    numbers = [listed] if isinstance(listed, int) else [*(listed or ())]
    return tuple(dict.fromkeys(i for i in (tokenizer.eos_token_id, *numbers) if i is not None))


def _json(path: Path) -> dict[str, Any]:
    try:
        row = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(row, dict):
        raise BadInput(f"{path}: expected a JSON object, got {type(row).__name__}.")
    return row

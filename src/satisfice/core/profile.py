"""How one family of models writes its thinking: tags, cue words, and how to ask it for an answer now."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from satisfice.core.errors import BadInput, UnknownName

W = TypeVar("W")

CANDIDATE = r"(?i)\banswer is\b|\bso the result\b|\\boxed\{|=\s*\$?-?\d[\d.,]*\$?\.?\s*$"
"""A step that says an answer: in words, in a box, or as the number that an equation ends in."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything about a model's text form that a rule must not hard-code.

    Rules speak of "a cue", "the inducing text", "the end of the answer"; the profile says what these are for R1, Qwen3,
    the pocket reasoner. All values are text; engines turn them into tokens.
    """

    name: str
    think_open: str = "<think>"
    think_close: str = "</think>"
    after_open: str = "\n"  # written behind think_open where the chat template leaves it to the model to open thinking
    cues: tuple[str, ...] = ("Wait", "Alternatively", "Hmm")  # a rule may look just before one of these
    step: str = "\n\n"  # ends one step of thinking
    close_thinking: str = "\n</think>\n\n"  # injected when thinking is cut; contains think_close
    skip_thinking: str = "Okay, I think I have finished thinking.\n</think>\n\n"  # injected at once by `nothinking`
    induce_answer: str = "\n**Final Answer**\n\\boxed{"  # injected on a fork to ask for a trial answer
    answer_end: tuple[str, ...] = ("}",)  # a trial answer is complete before one of these, or at the end of the turn
    answer_skip: int = 0  # leading tokens of a trial answer that say nothing (an opening brace), left out of confidence
    answer_form: Literal["boxed", "plain"] = "boxed"
    stated_answer: str = ""  # regular expression with one group: an answer stated inside the thinking; "" = none known
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 16_384  # tokens that a problem may spend unless the person says otherwise
    answer_tokens: int = 1_024  # of these, kept back so that there is room for the visible answer
    trial_tokens: int = 20  # longest trial answer
    candidate_answer: str = CANDIDATE  # regular expression: a step in which it matches holds a candidate answer
    rules: Mapping[str, Mapping[str, str | tuple[str, ...]]] = field(default_factory=dict, hash=False)
    """Words of single rules, where the model's differ from those in the rule's file: by the rule's id, then by name."""

    def opened(self, prompt: str) -> str:
        """Return a prompt with thinking open, whatever the chat template does about it.

        Some templates open thinking themselves, some leave it to the model, and some, for models that think on request,
        close it at once.

        >>> R1.opened("<|im_start|>assistant\\n")
        '<|im_start|>assistant\\n<think>\\n'
        >>> R1.opened("<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n")
        '<|im_start|>assistant\\n<think>\\n'
        >>> R1.opened("<|Assistant|><think>")
        '<|Assistant|><think>'
        """
        bare = prompt.rstrip()
        if bare.endswith(self.think_open.rstrip()):
            return prompt
        if bare.endswith(self.think_close.rstrip()):
            prompt = bare.removesuffix(self.think_close.rstrip())
            bare = prompt.rstrip()
            if bare.endswith(self.think_open.rstrip()):
                prompt = bare.removesuffix(self.think_open.rstrip())
        return prompt + self.think_open + self.after_open

    def words(self, rule: str, default: W) -> W:
        """Return the words of one rule for this model: its own defaults, or what `rules` says in their place.

        In the defaults `</think>` stands for whatever ends this model's thinking.

        Raises:
            BadInput: `rules` names a word that the rule does not have, or gives text for a list of words.
        """
        own: dict[str, Any] = {}
        for item in fields(cast(Any, default)):
            value = getattr(default, item.name)
            closed = [text.replace(R1.think_close, self.think_close) for text in ([value] if _text(value) else value)]
            own[item.name] = closed[0] if _text(value) else tuple(closed)
        for name, value in self.rules.get(rule, {}).items():
            if name not in own:
                raise UnknownName(f"word of {rule} in profile {self.name}", name, own)
            if _text(value) != _text(own[name]):
                raise BadInput(
                    f"profile {self.name}: {name} of {rule} must be {'text' if _text(own[name]) else 'a list of texts'}"
                    f", got {value!r}."
                )
            own[name] = value
        return cast(W, replace(cast(Any, default), **own))

    @property
    def candidate(self) -> re.Pattern[str]:
        """The compiled `candidate_answer`."""
        return re.compile(self.candidate_answer, re.MULTILINE)

    def written(self, answer: str) -> str:
        """Return an answer as the model would write it for the person to see.

        >>> R1.written("42")
        '\\\\boxed{42}'
        """
        return f"\\boxed{{{answer}}}" if self.answer_form == "boxed" else answer

    @cached_property
    def stated(self) -> re.Pattern[str] | None:
        """The compiled `stated_answer`, or None."""
        return re.compile(self.stated_answer, re.MULTILINE) if self.stated_answer else None


R1 = Profile(name="r1")
"""DeepSeek-R1, its distillations and others that think between `<think>` and `</think>` and box the answer."""

QWEN3 = Profile(
    name="qwen3",
    close_thinking=(
        "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly "
        "now.\n</think>\n\n"
    ),
)
"""Qwen3: as R1, but a sentence that its makers recommend leads out of thinking that is cut."""

_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
HARMONY = Profile(
    name="harmony",
    think_open="<|channel|>analysis<|message|>",
    think_close=_FINAL,
    after_open="",
    close_thinking=_FINAL,
    skip_thinking=_FINAL,
    induce_answer=_FINAL + "\\boxed{",
    rules={
        "deer-pro": {
            "inducers": (
                _FINAL + "\\boxed{", _FINAL + "**Final Answer**\n\\boxed{", _FINAL + "The final answer is \\boxed{",
                _FINAL + "I believe the final answer is \\boxed{",
            )
        },
        "s1-budget-forcing": {"close_at_budget": _FINAL + "Final Answer:"},
        "concise": {"sure_words": ("Great", "Perfect", "Therefore", "Thus", "<|end|>")},
    },
    temperature=1.0,
    top_p=1.0,
)  # fmt: skip
"""gpt-oss: thinking in the analysis channel, the answer in the final one."""

PROFILES: Mapping[str, Profile] = {**{profile.name: profile for profile in (R1, QWEN3, HARMONY)}, "gpt-oss": HARMONY}
"""The profiles that a model can be given by name."""


def with_tags(name: str, opens: str, closes: str) -> Profile:
    """Return the R1 family's way of thinking between other tags.

    >>> with_tags("magistral", "[THINK]", "[/THINK]").close_thinking
    '\\n[/THINK]\\n\\n'
    """
    if not opens.strip() or not closes.strip():
        raise BadInput(f"profile {name!r}: thinking must open and close with something, got {opens!r} and {closes!r}.")

    def put(text: str) -> str:
        return text.replace(R1.think_close, closes)

    return replace(
        R1, name=name, think_open=opens, think_close=closes, after_open="" if opens.endswith("\n") else R1.after_open,
        close_thinking=put(R1.close_thinking), skip_thinking=put(R1.skip_thinking),
    )  # fmt: skip


def named_profile(name: str) -> Profile:
    """Return the profile of a name, or the one in a file whose name ends in `.json`.

    Raises:
        UnknownName: no profile has that name.
        BadInput: the file cannot be read, or holds no profile.
    """
    if not name.endswith(".json"):
        if name not in PROFILES:
            raise UnknownName("profile", name, [*PROFILES, "FILE.json"])
        return PROFILES[name]
    try:
        return profile_from(json.loads(Path(name).expanduser().read_text("utf-8")), name)
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"profile {name}: the file cannot be read as JSON: {error}.") from error


def profile_from(row: object, where: str) -> Profile:
    """A profile from parsed JSON; `BadInput` names the field that is wrong. `where` says which file it came from."""
    if not isinstance(row, dict):
        raise BadInput(f"{where}: a profile is a JSON object, got {type(row).__name__}.")
    known = {f.name: f for f in fields(Profile)}
    for name in row:
        if name not in known:
            raise UnknownName(f"profile field in {where}", str(name), known)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    values["rules"] = _rules_from(row.get("rules", {}), where)
    for name, value in values.items():
        if name == "rules":
            continue
        wanted = type(getattr(R1, name))
        if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
            raise BadInput(f"{where}: {name} must be a {wanted.__name__}, got {value!r}.")
    return Profile(**values)


def _rules_from(rules: object, where: str) -> dict[str, dict[str, str | tuple[str, ...]]]:
    """Return the words of rules from parsed JSON: each a text or a list of texts."""
    found: dict[str, dict[str, str | tuple[str, ...]]] = {}
    for rule, words in rules.items() if isinstance(rules, Mapping) else ():
        found[str(rule)] = {}
        for name, value in words.items() if isinstance(words, Mapping) else ():
            texts = tuple(value) if isinstance(value, list | tuple) else (value,)
            if not all(map(_text, texts)):
                raise BadInput(f"{where}: {name} of {rule} must be text or a list of texts, got {value!r}.")
            found[str(rule)][str(name)] = value if _text(value) else texts
    if not isinstance(rules, Mapping) or not all(isinstance(words, Mapping) for words in rules.values()):
        raise BadInput(
            f'{where}: rules must be like {{"no-wait": {{"reflections": ["wait"]}}}}, got {str(rules)[:80]}.'
        )
    return found


def _text(value: object) -> bool:
    return isinstance(value, str)

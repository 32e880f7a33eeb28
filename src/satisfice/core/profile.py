"""How one family of models writes its thinking: tags, cue words, and how to ask it for an answer now."""

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

from satisfice.core.errors import BadInput, UnknownName


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything about a model's text form that a rule must not hard-code.

    Rules speak of "a cue", "the inducing text", "the end of the answer"; the profile says what these are for R1, Qwen3,
    the pocket reasoner. All values are text; engines turn them into tokens.
    """

    name: str
    think_open: str = "<think>"
    think_close: str = "</think>"
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
    max_tokens: int = 16_384  # tokens a problem may spend unless the person says otherwise
    answer_tokens: int = 1_024  # of these, kept back so that there is room for the visible answer
    trial_tokens: int = 20  # longest trial answer

    @cached_property
    def stated(self) -> re.Pattern[str] | None:
        """The compiled `stated_answer`, or None."""
        return re.compile(self.stated_answer, re.MULTILINE) if self.stated_answer else None


R1 = Profile(name="r1")
"""DeepSeek-R1, its distillations, Qwen3 and others that think between `<think>` and `</think>` and box the answer."""


def profile_from(row: object, where: str) -> Profile:
    """A profile from parsed JSON; `BadInput` names the field that is wrong. `where` says which file it came from."""
    if not isinstance(row, dict):
        raise BadInput(f"{where}: a profile is a JSON object, got {type(row).__name__}.")
    known = {f.name: f for f in fields(Profile)}
    for name in row:
        if name not in known:
            raise UnknownName(f"profile field in {where}", str(name), known)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    for name, value in values.items():
        wanted = type(getattr(R1, name))
        if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
            raise BadInput(f"{where}: {name} must be a {wanted.__name__}, got {value!r}.")
    return Profile(**values)

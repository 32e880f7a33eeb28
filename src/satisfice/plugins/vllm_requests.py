"""What a request to vLLM asks of our rules, and requests that come back after they were preempted."""

import inspect
import os
import secrets
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, cast

from satisfice.catalog import build, methods_of
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.core.profile import named_profile
from satisfice.core.session import POLICY
from satisfice.core.stepping import Stepping
from satisfice.plugins.fitted import Fitted, ModelWords, fit
from satisfice.plugins.steps import Asker, Kept

FIELD = "satisfice"
DEPARTED = 256  # requests that are remembered in case they come back


def rule_of(params: Any) -> Stepping | None:
    """Return the rule that a request names in `extra_args`, None if it names none.

    Raises:
        BadInput: a text that cannot be read, or a rule that needs more than a sampler sees.
    """
    text = (getattr(params, "extra_args", None) or {}).get(FIELD)
    if text is None:
        return None
    if not isinstance(text, str):
        raise BadInput(f"{FIELD} must be a text such as 'fixed-budget:512', got {text!r}.")
    rule = build(text)
    if not isinstance(rule, Stepping):
        inside = sorted(name for name, method in methods_of(POLICY).items() if hasattr(method, "step"))
        raise BadInput(
            f"{rule.card.id} needs more than a sampler sees, so it cannot run inside the server. The gateway runs it "
            f"in front of one; inside run {', '.join(inside)}."
        )
    return rule


def check_rule(params: Any) -> None:
    """Refuse a request whose rule cannot be read, or has nothing to look for in the server's model.

    Raises:
        ValueError: which vLLM answers with status 400 and the sentence.
    """
    try:
        rule, config = rule_of(params), _config(inspect.currentframe())
        if rule is not None and config is not None:
            fit(rule, words_of(config))
    except SatisficeError as error:
        raise ValueError(str(error)) from error


def asker_of(params: Any, prompt: Sequence[int], output: Sequence[int], words: ModelWords) -> Asker | None:
    """Return a request that follows a rule; None for others."""
    rule = rule_of(params)
    if rule is None:
        return None
    seed = getattr(params, "seed", None)
    return Asker(
        fitted=_fitted(cast(Hashable, rule), words), output=output, prompt=prompt,
        key=secrets.randbits(64) if seed is None else int(seed) & (1 << 64) - 1,
        temperature=float(params.temperature), top_p=float(params.top_p), top_k=max(0, int(params.top_k)),
        min_p=float(params.min_p),
    )  # fmt: skip


def words_of(config: Any) -> ModelWords:
    """Return the tokens of a server's model and how it thinks; `config` is vLLM's."""
    model = config.model_config
    return _words(str(model.tokenizer or model.model), int(model.get_vocab_size()), os.environ.get("SATISFICE_PROFILE"))


class Departed:
    """Requests that left the batch: one that was preempted comes back and goes on where it was."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Kept] = OrderedDict()  # by when they left
        self._count = 0

    def put(self, kept: Kept | None) -> None:
        """Remember a request that left; of many, the latest."""
        if kept is not None:
            self._kept[self._count] = kept
            self._count += 1
            if len(self._kept) > DEPARTED:
                self._kept.popitem(last=False)

    def take(self, asker: Asker) -> Kept | None:
        """Return what was known of a request that comes with an output already: the one that began in the same way."""
        for number, kept in reversed(self._kept.items()) if len(asker.output) else ():
            old, known = kept.asker, [token for token in kept.asker.output if token >= 0]
            begun = len(known) > 0 and known == list(asker.output[: len(known)])
            if begun and old.fitted == asker.fitted and list(old.prompt) == list(asker.prompt):
                del self._kept[number]
                asker.key = old.key
                return kept
        return None


@lru_cache(4)
def _words(folder: str, size: int, profile: str | None) -> ModelWords:
    return ModelWords(Path(folder), size, named_profile(profile) if profile else None)


@lru_cache(1024)
def _fitted(rule: Any, words: ModelWords) -> Fitted:
    return fit(rule, words)


def _config(frame: FrameType | None) -> Any:
    """vLLM tells validation a request's parameters, not its model: that stands with whoever asks for the validation."""
    while frame is not None:
        config = getattr(frame.f_locals.get("self"), "vllm_config", None)
        if config is not None:
            return config
        frame = frame.f_back
    return None

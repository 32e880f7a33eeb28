"""What every engine refuses in the same words, before anything is computed."""

import math
from collections.abc import Sequence

from satisfice.core.engine import Request, Sampled
from satisfice.core.errors import BadInput, ContextExceeded


def check_prompt(ids: Sequence[int], label: str, max_length: int, *, answer: int = 0) -> None:
    """Refuse a prompt that holds no token, or that leaves no room for an answer of `answer` tokens.

    An answer is never thought to need more than a quarter of what there is: profiles are made for long contexts.
    """
    if not ids:
        raise BadInput(f"{label}: the prompt is empty, and a model needs something to continue. Give it some text.")
    answer = min(answer, max_length // 4)
    if len(ids) + answer >= max_length:
        raise ContextExceeded(
            f"{label}: the prompt takes {len(ids)} tokens, which leaves no room within max_length={max_length}"
            f"{f' for an answer of {answer}' if answer else ''}. Shorten it or use a model with a longer context.",
            prompt_tokens=len(ids), max_length=max_length,
        )  # fmt: skip


def check_length(length: int, ids: Sequence[int]) -> None:
    """Refuse to fork or cut a sequence where it has no token."""
    if not 0 <= length <= len(ids):
        raise BadInput(f"the sequence has {len(ids)} tokens, so it cannot be forked or cut after {length}.")


def check_request(request: Request) -> None:
    """Refuse a request that has no meaning, whatever the engine."""
    watch = request.watch
    wrong = {
        "limit": request.limit < 0,
        "temperature": not 0 <= request.temperature < math.inf,
        "top_p": not 0 <= request.top_p <= 1,
        "key": not 0 <= request.key < 1 << 64,
        "stop_texts": "" in request.stop_texts,
        "bias": bool(request.bias) and not all(value < math.inf for value in request.bias.values()),
        "watch": watch is not None and watch.window < 1,
        "signals": request.signals.top_logprobs < 0,
        "thinking_budget": request.thinking_budget is not None and request.thinking_budget < 0,
    }
    for name, bad in wrong.items():
        if bad:
            raise BadInput(f"Request: {name}={getattr(request, name)!r} has no meaning. {_RIGHT[name]}")


_RIGHT = {
    "limit": "Give a number of tokens, 0 or more.",
    "temperature": "Give a number from 0 (greedy) on.",
    "top_p": "Give a share from 0 to 1.",
    "key": "Give a number of 64 bits.",
    "stop_texts": "Every stop text must hold a character.",
    "bias": "Give numbers below infinity.",
    "watch": "Its window must be at least 1 token.",
    "signals": "top_logprobs must be 0 or more.",
    "thinking_budget": "Give a number of tokens, 0 or more.",
}


def without_room(ids: Sequence[int], request: Request, max_length: int) -> Sampled | None:
    """Return the answer to a request that may sample nothing; None where it may.

    Raises:
        BadInput: there is nothing to go on from.
    """
    if not ids:
        raise BadInput("the sequence is empty, and a model needs something to continue. Extend it first.")
    if request.limit > 0 and len(ids) < max_length:
        return None
    return Sampled(ids=(), reason="length", cut=len(ids))

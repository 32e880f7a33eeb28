"""What a sample's row says about its chain: the spans, and where in the thinking the right answer first stood."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from satisfice.core.problem import Verdict
from satisfice.core.profile import Profile
from satisfice.core.span import Span

Decode = Callable[[list[int]], str]
Judge = Callable[[str], Awaitable[Verdict]]


def span_rows(spans: Sequence[Span], decode: Decode) -> list[dict[str, Any]]:
    """Return the spans after the prompt as JSON-able rows; `tokens` counts them, `text` shows special tokens too."""
    return [
        {"kind": span.kind, "by": span.by, "tokens": len(span.ids), "text": decode(list(span.ids))}
        for span in spans
        if span.kind != "prompt"
    ]


def after_prompt(spans: Sequence[Span]) -> list[int]:
    """Return the token ids after the prompt."""
    return [i for span in spans if span.kind != "prompt" for i in span.ids]


def tokens_up_to(characters: int, ids: Sequence[int], decode: Decode) -> int:
    """Return the least number of leading tokens whose text is at least `characters` long.

    >>> tokens_up_to(3, [5, 6, 7], lambda ids: "ab" * len(ids))
    2
    """
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if len(decode(list(ids[:middle]))) >= characters:
            high = middle
        else:
            low = middle + 1
    return low


def thinking_tokens(spans: Sequence[Span], thinking: str, decode: Decode) -> int:
    """How many tokens of a chain are thinking: those after the prompt and before the closing tag, injected ones too."""
    return tokens_up_to(len(thinking), after_prompt(spans), decode)


async def first_right(
    spans: Sequence[Span], thinking: str, profile: Profile, decode: Decode, judge: Judge
) -> int | None:
    """Return tokens of thinking up to the end of the first right answer that is stated in it.

    A stated answer is what `profile.stated_answer` finds. None when no stated answer is right, or when it is not known
    how this model states answers.
    """
    if profile.stated is None:
        return None
    verdicts: dict[str, Verdict] = {}
    for found in profile.stated.finditer(thinking):
        answer = found[1]
        if answer not in verdicts:
            verdicts[answer] = await judge(answer)
        if verdicts[answer] is Verdict.RIGHT:
            return tokens_up_to(found.end(1), after_prompt(spans), decode)
    return None

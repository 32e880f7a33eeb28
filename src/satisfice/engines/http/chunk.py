"""What one event of a streamed completion says, read as hostile input."""

import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from satisfice.core.errors import EngineError
from satisfice.engines.collector import Token
from satisfice.models.words import TextWords

_PREFIX = "token_id:"


class Usage(NamedTuple):
    """The server's own count."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None  # leading tokens of the prompt that it had in its cache


class Chunk(NamedTuple):
    """A piece of a streamed completion."""

    text: str = ""
    ids: tuple[int, ...] | None = None  # None: the server sends no ids
    prompt_ids: tuple[int, ...] | None = None  # how it split the prompt, if it says so; with the first piece only
    pieces: tuple[str, ...] | None = None  # the tokens as it names them; None: it sends no log-probabilities
    logprobs: tuple[float | None, ...] = ()
    top: tuple[dict[str, float], ...] = ()  # per token: the likeliest tokens as it names them
    finish: str | None = None
    stopped_by: str | int | None = None  # vLLM: the stop text or stop token
    usage: Usage | None = None

    def by_id(self) -> list[Token]:
        """Its tokens under the server's numbers."""
        if self.ids is None:
            if self.text:
                raise EngineError(
                    "the server sent text without token ids, which it gave when it was asked at the start"
                )
            return []
        if not self.logprobs:
            return [Token(i) for i in self.ids]
        n = len(self.ids)
        lines: list[dict[str, float]] = list(self.top) if len(self.top) == n else [{}] * n
        chosen = self.logprobs if len(self.logprobs) == n else (None,) * n
        return [
            Token(id=i, logprob=logprob, top=_by_number(line))
            for i, logprob, line in zip(self.ids, chosen, lines, strict=True)
        ]

    def by_text(
        self, words: TextWords, before: str = "", stops: tuple[str, ...] = (), leaks: str | None = None
    ) -> list[Token]:
        """Its tokens by their text: as the server splits it where it tells, else all of it as one.

        Where nobody tells, a stop text that ends in it is kept apart from what stands around it; `before` is the text
        that it follows. `leaks` is how the server writes the end of the turn, where it shows that.
        """

        def number(piece: str) -> int:
            return words.END if piece == leaks else words.number(piece)

        pieces = self.pieces
        if pieces is None:
            ends = stops if leaks is None else (*stops, leaks)
            return [Token(id=number(part)) for part in around(before, self.text, ends)]
        end: list[Token] = []
        if self.finish == "stop" and pieces and not (pieces[-1] and self.text.endswith(pieces[-1])):
            *rest, _ = pieces  # the end of the turn has a name but no text
            pieces, end = tuple(rest), [Token(id=words.END, logprob=self.logprobs[-1])]
        if "".join(pieces) != self.text and pieces:  # part of a character, or a token that has no text
            pieces = ("",) * (len(pieces) - 1) + (self.text,)
        return [Token(id=number(p), logprob=lp) for p, lp in zip(pieces, self.logprobs, strict=False)] + end


def around(before: str, text: str, stops: tuple[str, ...]) -> list[str]:
    """Return a text in parts: up to the first stop text that ends in it, to its end, and the rest.

    >>> around("", "so 46</think>46", ("</think>",)), around("so </th", "ink>46", ("</think>",))
    (['so 46', '</think>', '46'], ['ink>', '46'])
    """
    begins = ((before + text).find(stop, max(0, len(before) - len(stop) + 1)) - len(before) for stop in stops)
    found = [(begin, begin + len(stop)) for begin, stop in zip(begins, stops, strict=True) if begin + len(before) >= 0]
    begin, end = min(found, default=(0, 0))
    cuts = (0, max(0, begin), end, len(text))
    return [text[a:b] for a, b in itertools.pairwise(cuts) if a < b]


def read_chunk(event: dict[str, Any]) -> Chunk:
    """Read an event; `EngineError` says what is wrong with it."""
    try:
        usage = _usage(told) if (told := event.get("usage")) else None
        if not event.get("choices"):
            return Chunk(usage=usage)
        choice = event["choices"][0]
        chunk = Chunk(
            text=_is(str, choice.get("text") or ""),
            ids=_numbers(choice.get("token_ids")),
            prompt_ids=_numbers(choice.get("prompt_token_ids")),
            finish=choice.get("finish_reason"),
            stopped_by=choice.get("stop_reason"),
            usage=usage,
        )
        return _with_logprobs(chunk, told) if (told := choice.get("logprobs")) else chunk
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise EngineError(
            f"the server sent an event of a form that is not OpenAI's ({type(error).__name__}: {error})"
        ) from error


def _with_logprobs(chunk: Chunk, told: dict[str, Any]) -> Chunk:
    if (content := told.get("content")) is not None:  # the form of chat completions, which llama.cpp uses here too
        told = {
            "tokens": [line["token"] for line in content],
            "token_logprobs": [line["logprob"] for line in content],
            "top_logprobs": [_by_name(line.get("top_logprobs") or ()) for line in content],
        }
    names = told.get("tokens")
    if names is not None and len(names) != len(told.get("token_logprobs") or ()):
        raise ValueError(f"{len(names)} tokens with {len(told.get('token_logprobs') or ())} log-probabilities")
    return chunk._replace(
        pieces=None if names is None else tuple(_is(str, name) for name in names),
        logprobs=tuple(None if value is None else _finite(value) for value in told.get("token_logprobs") or ()),
        top=tuple(
            {_is(str, k): _finite(v) for k, v in (line or {}).items()} for line in told.get("top_logprobs") or ()
        ),
    )


def _by_name(lines: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Log-probabilities by the tokens' texts; of parts of characters, which may share one, the likeliest counts."""
    found: dict[str, float] = {}
    for line in lines:
        found[line["token"]] = max(found.get(line["token"], -math.inf), line["logprob"])
    return found


def _usage(told: Any) -> Usage:
    details = told.get("prompt_tokens_details") or {}
    counts = (told.get("prompt_tokens"), told.get("completion_tokens"), details.get("cached_tokens"))
    prompt, completion, cached = (None if n is None else _is(int, n) for n in counts)
    return Usage(prompt=prompt, completion=completion, cached=cached)


def _numbers(told: Any) -> tuple[int, ...] | None:
    if told is None:
        return None
    for number in told:
        _is(int, number)
    return tuple(told)


def _by_number(line: dict[str, float]) -> tuple[tuple[float, int], ...]:
    found = [(value, int(name.removeprefix(_PREFIX))) for name, value in line.items() if name.startswith(_PREFIX)]
    return tuple(sorted(found, key=lambda pair: (-pair[0], pair[1])))


def _is(kind: type, value: Any) -> Any:
    if type(value) is not kind:  # true and false are no numbers
        raise TypeError(f"{str(value)[:60]!r} where {kind.__name__} belongs")
    return value


def _finite(value: Any) -> float:
    number = float(value)
    if math.isnan(number) or number > 1e-3:  # rounding leaves a hair above zero
        raise ValueError(f"{number} is no log-probability")
    return number

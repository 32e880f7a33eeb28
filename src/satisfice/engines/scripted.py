"""An engine that plays a script: for tests of policies, without a model."""

import asyncio
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from satisfice.core.card import Need
from satisfice.core.engine import Request, Sampled
from satisfice.core.errors import EngineError
from satisfice.core.profile import Profile
from satisfice.engines._stops import find_stop

Script = Callable[[str, Request], str | tuple[str, float]]
"""From the text after the prompt and the request to what comes next: some text, and (optionally) the log-probability
of each of its tokens. Of that text one token is taken, then the script is asked again."""

END = "<|end|>"
SCRIPTED = Profile(
    name="scripted", cues=("Wait",), step="\n", close_thinking="</think>", skip_thinking="</think>",
    induce_answer="</think>", answer_end=("\n",), answer_form="plain", stated_answer=r"so (-?\d+)", max_tokens=1000,
    answer_tokens=20, temperature=0.6, top_p=1.0,
)  # fmt: skip


def from_text(text: str) -> Script:
    """The script of a chain that always goes on as `text` does; after thinking is closed early it answers `?`."""

    def script(so_far: str, request: Request) -> str:
        if text.startswith(so_far):
            return text[len(so_far) :] or END
        return END if so_far.endswith("?") else "?"

    return script


class ScriptedEngine:
    """Plays a `Script`. Tokens are words, numbers' digits, punctuation and special tags; all sequences advance one
    token a step, in the order in which they were asked.

    `tokens` counts what was sampled and `open_sequences` what was not freed, so that tests can hold a ledger and a
    session against what the engine really did.
    """

    name = "scripted"
    provides = frozenset({Need.FORK, Need.INJECT, Need.ABORT, Need.LOGPROBS})
    max_length = 100_000

    def __init__(self, script: Script | str, *, profile: Profile = SCRIPTED, fail_at: int | None = None) -> None:
        self.script = from_text(script) if isinstance(script, str) else script
        self.profile = profile
        self.fail_at = fail_at  # raise EngineError once this many tokens were sampled
        self.tokens = 0
        self.open_sequences = 0
        self._pieces: list[str] = [END]
        self._ids: dict[str, int] = {END: 0}
        self.end_ids = frozenset({0})

    def open(self, question: str, label: str) -> "ScriptedSequence":
        return ScriptedSequence(self, self.encode(question + self.profile.think_open))

    def encode(self, text: str) -> list[int]:
        pieces = re.findall(r"<[^<>]*>|[A-Za-z]+|\s|.", text, re.DOTALL)
        for piece in pieces:
            if piece not in self._ids:
                self._ids[piece] = len(self._pieces)
                self._pieces.append(piece)
        return [self._ids[piece] for piece in pieces]

    def decode(self, ids: list[int]) -> str:
        return "".join(self._pieces[i] for i in ids)

    def piece(self, token: int) -> bytes:
        return self._pieces[token].encode()

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class ScriptedSequence:
    """One sequence of a `ScriptedEngine`."""

    def __init__(self, engine: ScriptedEngine, ids: list[int], prompt: int | None = None) -> None:
        self._engine = engine
        self._prompt = len(ids) if prompt is None else prompt
        self.ids = ids
        self.last: Sampled | None = None
        self._open = True
        engine.open_sequences += 1

    def fork(self, length: int) -> "ScriptedSequence":
        return ScriptedSequence(self._engine, self.ids[:length], self._prompt)

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        del self.ids[length:]

    async def sample(self, request: Request) -> Sampled:
        engine, begin, logprobs = self._engine, len(self.ids), []
        since = begin if request.match_from is None else request.match_from
        reason, cut, match = "length", None, ""
        try:
            while len(self.ids) - begin < request.limit:
                await asyncio.sleep(0)  # one decode step: everybody else moves on by one token
                if engine.fail_at is not None and engine.tokens >= engine.fail_at:
                    raise EngineError(f"the script fails at token {engine.fail_at}")
                told = engine.script(engine.decode(self.ids[self._prompt :]), request)
                text, logprob = told if isinstance(told, tuple) else (told, 0.0)
                self.ids.append(engine.encode(text)[0])
                logprobs.append(logprob)
                engine.tokens += 1
                if self.ids[-1] in request.stop_ids:
                    reason = "token"
                    break
                if found := find_stop(self.ids, since, len(self.ids) - 1, request.stop_texts, engine.decode):
                    reason, cut, match = "text", found.cut, found.text
                    break
        except asyncio.CancelledError:
            reason = "cancelled"
            raise
        finally:
            asked = request.signals.logprobs
            self.last = Sampled(
                ids=tuple(self.ids[begin:]), reason=reason, cut=len(self.ids) if cut is None else cut, match=match,  # type: ignore[arg-type]
                logprobs=np.array(logprobs, dtype=np.float32) if asked else None,
            )  # fmt: skip
        return self.last

    def close(self) -> None:
        if self._open:
            self._open = False
            self._engine.open_sequences -= 1

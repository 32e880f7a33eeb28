"""An engine that plays a script: for tests of policies, without a model."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Need
from satisfice.core.engine import CONFIDENCE_OF, Request, Sampled, Signals, Watch, random_key
from satisfice.core.errors import EngineError, Unfit
from satisfice.core.profile import Profile
from satisfice.engines.checks import check_length, check_prompt, check_request, without_room
from satisfice.engines.stops import find_stop

Line = str | tuple[str, float] | Mapping[str, float]
Script = Callable[[str, Request], Line]
"""From the text after the prompt and the request to what comes next: some text, or some text with the log-probability
of each of its tokens, or several texts with the probability of each. One token is taken, then the script is asked
again; among several texts the engine chooses as a model does, with bias, sampler, temperature and the request's key.
What one text leaves over of the probability counts as one other token."""

HIDDEN, LAYERS = 4, 2  # width of the made-up hidden states, and blocks of the model that is not there
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
    upstream = None
    max_length = 100_000

    def __init__(
        self,
        script: Script | str,
        *,
        profile: Profile = SCRIPTED,
        fail_at: int | None = None,
        provides: frozenset[Need] = frozenset(Need) - {Need.UNEMBEDDING},
    ) -> None:
        self.script = from_text(script) if isinstance(script, str) else script
        self.profile = profile
        self.provides = provides  # what a request asks for beyond this is refused
        self.fail_at = fail_at  # raise EngineError once this many tokens were sampled
        self.tokens = 0
        self.open_sequences = 0
        self._pieces: list[str] = [END]
        self._ids: dict[str, int] = {END: 0}
        self.end_ids = frozenset({0})

    def open(self, question: str, label: str) -> "ScriptedSequence":
        sequence = self.open_prompt(self.render(question), label)
        check_prompt(sequence.ids, label, self.max_length, answer=self.profile.answer_tokens)
        return sequence

    def open_prompt(self, prompt: str | list[int], label: str) -> "ScriptedSequence":
        ids = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_prompt(ids, label, self.max_length)
        return ScriptedSequence(self, ids)

    def render(self, question: str) -> str:
        return question + self.profile.think_open

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        if len(messages) == 1:
            return self.render(messages[0]["content"])
        return "".join(f"[{m['role']}]{m['content']}" for m in messages) + self.profile.think_open

    def unembedding(self) -> NDArray[np.float32]:
        raise Unfit("a script has no output matrix.")

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
        return {"engine": self.name, "model": "scripted", "layers": LAYERS}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@dataclass(frozen=True)
class _Drawn:
    """One token and the distribution that it came from."""

    token: int
    logprob: float  # before bias and temperature, as always
    entropy: float
    top: list[tuple[int, float]]  # (token, log-probability), likeliest first


def _refuse(request: Request, provides: frozenset[Need]) -> None:
    asked = set(request.signals.needs) | ({Need.LOGITS} if request.bias or request.sampler else set())
    asked |= {Need.BUDGET} if request.thinking_budget is not None else set()
    if missing := sorted(asked - provides):
        raise EngineError(f"the scripted engine was asked for {', '.join(missing)}, which it was told not to provide")


def _draw(engine: ScriptedEngine, line: Line, request: Request, position: int) -> _Drawn:
    if isinstance(line, Mapping):
        mass = {engine.encode(text)[0]: probability for text, probability in line.items()}
        scores = np.log(np.array(list(mass.values()), dtype=np.float64))
        rest = 0.0
    else:
        text, logprob = line if isinstance(line, tuple) else (line, 0.0)
        mass = {engine.encode(text)[0]: float(np.exp(logprob))}
        scores = np.array([logprob], dtype=np.float64)
        rest = 1 - mass[next(iter(mass))]
    tokens = list(mass)
    entropy = -sum(p * np.log(p) for p in (*mass.values(), rest) if p > 0)
    top = sorted(zip(tokens, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    biased = scores + [request.bias.get(token, 0.0) for token in tokens]
    if request.temperature > 0:
        biased = biased / request.temperature
        if request.sampler is not None:
            wide = np.full((1, max(tokens) + 1), -np.inf)
            wide[0, tokens] = biased
            biased = np.asarray(request.sampler(wide))[0, tokens]
        chances = np.exp(biased - biased.max()).cumsum()
        picked = int(np.searchsorted(chances, chances[-1] * random_key(request.key, position) / 2**64, side="right"))
    else:
        picked = int(biased.argmax())
    return _Drawn(tokens[picked], float(scores[picked]), float(entropy), top)


def _watched(watch: Watch, one: _Drawn) -> float:
    """Return the value of the watched signal at a token."""
    if watch.signal == "confidence":
        return -float(np.mean([logprob for _, logprob in one.top[:CONFIDENCE_OF]]))
    return one.logprob if watch.signal == "logprob" else one.entropy


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
        check_length(length, self.ids)
        return ScriptedSequence(self._engine, self.ids[:length], self._prompt)

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        check_length(length, self.ids)
        del self.ids[length:]

    async def sample(self, request: Request) -> Sampled:
        engine, begin, drawn, watched = self._engine, len(self.ids), list[_Drawn](), list(request.watched)
        check_request(request)
        _refuse(request, engine.provides)
        if (nothing := without_room(self.ids, request, engine.max_length)) is not None:
            self.last = nothing
            return nothing
        since = begin if request.match_from is None else request.match_from
        reason, cut, match = "length", None, ""
        try:
            while len(self.ids) < min(begin + request.limit, engine.max_length):
                await asyncio.sleep(0)  # one decode step: everybody else moves on by one token
                if engine.fail_at is not None and engine.tokens >= engine.fail_at:
                    raise EngineError(f"the script fails at token {engine.fail_at}")
                told = self._forced(request) or engine.script(engine.decode(self.ids[self._prompt :]), request)
                drawn.append(_draw(engine, told, request, len(self.ids)))
                self.ids.append(drawn[-1].token)
                engine.tokens += 1
                if self.ids[-1] in request.stop_ids:
                    reason = "token"
                    break
                if found := find_stop(self.ids, since, len(self.ids) - 1, request.stop_texts, engine.decode):
                    reason, cut, match = "text", found.cut, found.text
                    break
                if (watch := request.watch) is not None:
                    watched.append(_watched(watch, drawn[-1]))
                    if watch.crossed(watched):
                        reason = "signal"
                        break
        except asyncio.CancelledError:
            reason = "cancelled"
            raise
        finally:
            self.last = Sampled(
                ids=tuple(self.ids[begin:]), reason=reason, cut=len(self.ids) if cut is None else cut, match=match,  # type: ignore[arg-type]
                watched=tuple(watched[-request.watch.window :]) if request.watch else (),
                **self._signals(request.signals, drawn, begin),
            )  # fmt: skip
        return self.last

    def _forced(self, request: Request) -> str:
        """Return the end of thinking, piece by piece, once the request's budget for it is spent."""
        if request.thinking_budget is None:
            return ""
        thinking = self._engine.decode(self.ids[self._prompt + request.thinking_budget :])
        spent = len(self.ids) - self._prompt >= request.thinking_budget
        close = self._engine.profile.think_close
        done = close in self._engine.decode(self.ids[self._prompt :])
        return close[len(thinking) :] if spent and not done and close.startswith(thinking) else ""

    def _signals(self, asked: Signals, drawn: "list[_Drawn]", begin: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if asked.logprobs:
            found["logprobs"] = np.array([one.logprob for one in drawn], dtype=np.float32)
        if asked.entropy:
            found["entropy"] = np.array([one.entropy for one in drawn], dtype=np.float32)
        if k := asked.top_logprobs:
            padded = [[*one.top[:k], *[(-1, -np.inf)] * (k - len(one.top))] for one in drawn]
            found["top_ids"] = np.array([[i for i, _ in top] for top in padded], dtype=np.int64).reshape(-1, k)
            found["top_logprobs"] = np.array([[p for _, p in top] for top in padded], np.float32).reshape(-1, k)
        if asked.hidden:
            found["hidden"] = {layer: self._states(layer, begin, len(drawn)) for layer in asked.hidden}
        return found

    def _states(self, layer: int, begin: int, count: int) -> NDArray[np.float32]:
        """Made-up hidden states `[count, HIDDEN]`: a function of the layer and the text before each token."""
        texts = (self._engine.decode(self.ids[self._prompt : begin + i]) for i in range(count))
        seeds = [random_key(layer, text) for text in texts]
        return np.array([np.random.default_rng(s).normal(size=HIDDEN) for s in seeds], np.float32).reshape(-1, HIDDEN)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._engine.open_sequences -= 1

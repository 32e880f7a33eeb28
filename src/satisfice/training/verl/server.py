"""verl's inference servers (vLLM, SGLang, ours) as an engine: stop rules and steering shapers run over it as they are.

A chain lives here. Every call sends all its tokens to the server that has the beginning in its cache; verl's client
sees to that. The client gives no stream, so a call with a condition that the server cannot check (a text, a signal)
is made in parts of `PART` tokens, and up to so many tokens behind the condition are sampled in vain.
"""

import uuid
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from satisfice.core.card import Need
from satisfice.core.engine import Request, Sampled, random_key
from satisfice.core.errors import EngineError
from satisfice.core.profile import PROFILES, Profile
from satisfice.engines.collect import Collector, Token
from satisfice.engines.local.engine import LocalEngine
from satisfice.models.words import TokenizerWords

PART = 64  # tokens


class Client(Protocol):
    """verl's client of its servers."""

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any: ...


@lru_cache(8)
def words_of(folder: str, profile: str | None) -> tuple[TokenizerWords, Profile]:
    """The tokenizer of a model, and its profile: by name, by the folder's `profile.json`, or R1's."""
    words = TokenizerWords(Path(folder))
    return words, PROFILES[profile] if profile else words.profile


class ServerEngine:
    """One prompt of a training, with the server that verl gives its rollouts.

    `prompt` are the tokens of the prompt as verl made them, `settings` what verl samples with (top_p, top_k, ...);
    `seeded`: send a seed with each call, which some servers pay for.
    """

    name = "verl"
    provides = frozenset({Need.FORK, Need.INJECT})  # log-probabilities are the server's, after temperature and filters

    def __init__(
        self, client: Client, words: TokenizerWords, profile: Profile, *, prompt: list[int], question: str,
        max_length: int, settings: Mapping[str, Any], seeded: bool = False,
    ) -> None:  # fmt: skip
        self.client, self.words, self.profile, self.max_length = client, words, profile, max_length
        self.end_ids = words.end_ids
        self.settings = {k: v for k, v in settings.items() if k not in ("temperature", "logprobs")}
        self.seeded = seeded
        self.request_id = uuid.uuid4().hex
        self.sampled = 0  # tokens that the server sampled, those in vain included
        self.versions: list[int] = []  # of the weights that sampled
        self._question, self._prompt = question, prompt

    def open(self, question: str, label: str) -> "ServerSequence":
        if question == self._question:
            return ServerSequence(self, list(self._prompt))
        return ServerSequence(self, self.words.encode(self.words.render(question, self.profile)))

    def encode(self, text: str) -> list[int]:
        return self.words.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self.words.decode(ids)

    def piece(self, token: int) -> bytes:
        return self.words.piece(token)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "model": str(self.words.folder)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class ServerSequence:
    """One sequence of a `ServerEngine`."""

    def __init__(self, engine: ServerEngine, ids: list[int]) -> None:
        self._engine, self.ids = engine, ids
        self.last: Sampled | None = None

    def fork(self, length: int) -> "ServerSequence":
        return ServerSequence(self._engine, self.ids[:length])

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        del self.ids[length:]

    async def sample(self, request: Request) -> Sampled:
        if request.sampler is not None or request.bias or request.thinking_budget is not None:
            raise EngineError("verl's servers take no samplers, biases or budgets of thinking from a rollout")
        if request.signals.needs or request.watch is not None:
            raise EngineError("verl's servers give no signals that are the model's own")
        take = Collector(self.ids, request, self._engine.decode)
        try:
            while take.reason is None:
                await self._part(take, request)
        finally:
            self.last = take.result()
        return self.last

    def close(self) -> None:
        return None

    async def _part(self, take: Collector, request: Request) -> None:
        engine, left = self._engine, request.limit - take.count
        asked: dict[str, Any] = {
            **engine.settings,
            "temperature": request.temperature,
            "max_tokens": min(left, PART) if request.stop_texts else left,
            "stop_token_ids": sorted(request.stop_ids),
            "ignore_eos": True,  # it ends where we say, only there
        }
        if request.top_p < 1:
            asked["top_p"] = request.top_p
        if engine.seeded:
            asked["seed"] = random_key(request.key, len(self.ids)) >> 33
        got = await engine.client.generate(engine.request_id, prompt_ids=list(self.ids), sampling_params=asked)
        if not got.token_ids:
            raise EngineError(f"the server gave no token and the reason {got.stop_reason!r}")
        engine.sampled += len(got.token_ids)
        if (version := got.extra_fields.get("global_steps")) is not None:
            engine.versions.append(int(version))
        for token in got.token_ids:
            if take.reason is None:
                take.add(Token(id=int(token)))


async def answer(engine: LocalEngine, prompt_ids: list[int], params: Mapping[str, Any]) -> Sampled:
    """What our local engine, as the server, samples after a prompt; `params` as a `ServerSequence` sends them."""
    base = engine.open("?", "verl")
    sequence = base.fork(0)
    base.close()
    try:
        sequence.extend([int(i) for i in prompt_ids])
        room = engine.max_length - len(prompt_ids)
        return await sequence.sample(
            Request(
                limit=min(int(params.get("max_tokens", room)), room),
                stop_ids=frozenset(params.get("stop_token_ids") or engine.end_ids),
                temperature=float(params["temperature"]),
                top_p=float(params.get("top_p", 1.0)),
                key=int(params.get("seed", 0)),
            )
        )
    finally:
        sequence.close()

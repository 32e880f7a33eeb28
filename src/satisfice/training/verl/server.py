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

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Need
from satisfice.core.engine import Request, Sampled, random_key
from satisfice.core.errors import EngineError, Unfit
from satisfice.core.profile import PROFILES, Profile
from satisfice.engines.checks import check_prompt
from satisfice.engines.collector import Collector, Token
from satisfice.engines.local.engine import LocalEngine
from satisfice.engines.stateless import ComputedPrefix, StatelessSequence
from satisfice.models.words import TokenizerWords

PART = 64  # tokens


class Client(Protocol):
    """verl's client of its servers."""

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any: ...


@lru_cache(8)
def words_of(folder: str, profile: str | None) -> tuple[TokenizerWords, Profile]:
    """Return the tokenizer of a model, and its profile: by name, by the folder's `profile.json`, or R1's."""
    words = TokenizerWords(Path(folder))
    return words, PROFILES[profile] if profile else words.profile


class ServerEngine:
    """One prompt of a training, with the server that verl gives its rollouts.

    `prompt` are the tokens of the prompt as verl made them, `settings` what verl samples with (top_p, top_k, ...);
    `seeded`: send a seed with each call, which some servers pay for.
    """

    name = "verl"
    upstream = None
    provides = frozenset(
        {Need.FORK, Need.INJECT, Need.RENDER}
    )  # log-probabilities are the server's, after temperature and filters

    def __init__(
        self, client: Client, words: TokenizerWords, profile: Profile, *, prompt: list[int], question: str,
        max_length: int, settings: Mapping[str, Any], seeded: bool = False,
    ) -> None:  # fmt: skip
        self.client, self.words, self.profile, self.max_length = client, words, profile, max_length
        self.end_ids = words.end_ids
        self.encode, self.decode, self.piece = self.words.encode, self.words.decode, self.words.piece
        self.settings = {k: v for k, v in settings.items() if k not in ("temperature", "logprobs")}
        self.seeded = seeded
        self.request_id = uuid.uuid4().hex
        self.sampled = 0  # tokens that the server sampled, those in vain included
        self.versions: list[int] = []  # of the weights that sampled
        self._question, self._prompt = question, prompt

    def open(self, question: str, label: str) -> StatelessSequence:
        if question == self._question:
            return StatelessSequence(self, list(self._prompt))
        return self.open_prompt(self.render(question), label)

    def open_prompt(self, prompt: str | list[int], label: str) -> StatelessSequence:
        ids = self.words.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_prompt(ids, label, self.max_length)
        return StatelessSequence(self, ids)

    def render(self, question: str) -> str:
        return self.words.render(question, self.profile)

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        return self.words.render_chat(messages, self.profile, variables)

    def unembedding(self) -> NDArray[np.float32]:
        raise Unfit("verl's servers do not give the output matrix of their model.")

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "model": str(self.words.folder)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def refuse(self, request: Request) -> None:
        """Raise `EngineError` for what verl's servers do not take from a rollout."""
        if request.sampler is not None or request.bias or request.thinking_budget is not None:
            raise EngineError("verl's servers take no samplers, biases or budgets of thinking from a rollout")
        if request.signals.needs or request.watch is not None:
            raise EngineError("verl's servers give no signals that are the model's own")

    async def fill(self, take: Collector, request: Request, computed: ComputedPrefix) -> None:
        """Take tokens until the call is over, in as many parts as it takes."""
        while take.reason is None:
            await self._part(take, request)

    async def _part(self, take: Collector, request: Request) -> None:
        asked: dict[str, Any] = {
            **self.settings,
            "temperature": request.temperature,
            "max_tokens": min(take.left, PART) if request.stop_texts else take.left,
            "stop_token_ids": sorted(request.stop_ids),
            "ignore_eos": True,  # it ends where we say, only there
        }
        if request.top_p < 1:
            asked["top_p"] = request.top_p
        if self.seeded:
            asked["seed"] = random_key(request.key, len(take.ids)) >> 33
        got = await self.client.generate(self.request_id, prompt_ids=list(take.ids), sampling_params=asked)
        if not got.token_ids:
            raise EngineError(f"the server gave no token and the reason {got.stop_reason!r}")
        self.sampled += len(got.token_ids)
        if (version := got.extra_fields.get("global_steps")) is not None:
            self.versions.append(int(version))
        for token in got.token_ids:
            if take.reason is None:
                take.add(Token(id=int(token)))


async def answer(engine: LocalEngine, prompt_ids: list[int], params: Mapping[str, Any]) -> Sampled:
    """Return what our local engine, as the server, samples after a prompt; `params` as a `ServerEngine` sends them."""
    base = engine.open("?", "verl")
    sequence = base.fork(0)  # not `open_prompt`: verl has made room for the answer
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

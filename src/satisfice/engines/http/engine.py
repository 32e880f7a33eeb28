"""Any OpenAI-compatible server, over streamed `/v1/completions`.

A chain lives here, not on the server: every call of `sample` sends all tokens of the chain so far as the prompt, and
the server's prefix cache makes that cheap. A fork is the same prefix sent again; stopping is closing the stream, or
the server's own stop where it shows what it stopped at.

What is guaranteed depends on the server, which is asked once at the start:

- *It takes and gives token ids, and its tokenizer is at hand* (a folder): chains are exact token by token, nothing is
  ever tokenised twice.
- *Otherwise the text is the truth.* A chain's text is exactly what the server sent and what policies put in. The server
  tokenises it afresh with every call, so at the joints (before a cue, after injected text) its tokens may differ from
  those that it sampled; tokens are counted as the server reports them.

What a call computes again because it was not in the server's cache is `prefilled`. Servers report their cache at the
end of a stream, if at all; without a report the whole prefix counts, so the figure is never too low.

Draws: a call sends a `seed` made of the chain's key and position. Servers do not promise the same tokens for the same
seed in another batch, so two runs with one seed are alike in distribution, not token for token; greedy chains are equal
up to ties. Log-probabilities are offered only where they are the model's own, before temperature.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import aiohttp
import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Need
from satisfice.core.engine import Request, random_key
from satisfice.core.errors import BadInput, EngineError, Refused, Unfit
from satisfice.core.profile import Profile, named_profile
from satisfice.engines.checks import check_prompt
from satisfice.engines.collector import Collector, Token, logprobs_wanted, top_wanted
from satisfice.engines.http.address import base_of
from satisfice.engines.http.chunk import Chunk, Usage, read_chunk
from satisfice.engines.http.counters import Counters
from satisfice.engines.http.probe import BUDGETS, EXTENDED, find_out, in_a_loop_of_its_own
from satisfice.engines.http.upstream import UNKNOWN_LENGTH, HttpUpstream
from satisfice.engines.http.wire import FAREWELL_S, Address, Broken, Gate, Patience, open_stream
from satisfice.engines.stateless import ComputedPrefix, StatelessSequence, computed_again
from satisfice.models.recognise import ON
from satisfice.models.words import TextWords, TokenizerWords

_SHOWN = {name: value for name, value in EXTENDED.items() if name not in ("top_k", "min_p", "repetition_penalty")}
_TAIL = 32  # pieces of text before a new one within which a stop text may have begun


class HttpEngine:
    """A model behind an OpenAI-compatible server.

    `address` is the server's, with or without `/v1`; options may stand in it: `http://host:8000?model=qwen`.
    `tokenizer` is a folder (or a bundled model's name) with the model's tokenizer, found by itself when the server
    names a folder of this machine. `template` is the chat form as text with `{question}` in it, for servers that do
    not show it. `connections` bounds the streams at once. A stream may take `first_s` seconds to its first token (a
    long queue is normal; default: ten times `silence_s`); one that is silent for `silence_s` seconds later is broken.
    A call goes on trying for `patience_s` seconds without a token, but where `retry_busy` is off a server that is
    too busy for a new chain has refused it. The key is read from the variable `key_env`.

    Raises:
        BadInput: nobody answers there, or something that the engine must know cannot be found out.
    """

    name = "http"
    provides = frozenset({Need.FORK, Need.INJECT, Need.ABORT, Need.RENDER})  # of every server; some give more

    def __init__(
        self,
        address: str,
        *,
        model: str | None = None,
        tokenizer: str | None = None,
        template: str | None = None,
        profile: Profile | str | None = None,
        max_length: int | None = None,
        connections: int = 64,
        silence_s: float = 60.0,
        first_s: float | None = None,
        patience_s: float = 120.0,
        key_env: str = "SATISFICE_API_KEY",
        retry_busy: bool = True,
    ) -> None:
        for name, value in (
            ("connections", connections), ("silence_s", silence_s), ("patience_s", patience_s),
            ("max_length", max_length or 1), ("first_s", first_s or 1),
        ):  # fmt: skip
            if not value > 0:
                raise BadInput(f"HttpEngine: {name} must be more than 0, got {value}.")
        self.address = Address(
            base=base_of(address), key_env=key_env, silence_s=silence_s, first_s=first_s or 10 * silence_s
        )
        self.retry_busy = retry_busy
        profile = named_profile(profile) if isinstance(profile, str) else profile
        folder = None
        if tokenizer is not None:
            from satisfice.models.resolve import model_folder

            folder = model_folder(tokenizer)
        found = in_a_loop_of_its_own(
            find_out(self.address, model=model, tokenizer=folder, template=template, profile=profile)
        )
        self.server, self.profile, self._thinking = found.server, found.profile, found.thinking
        self._render, self._tokenizer = found.render, found.words
        self.words: TokenizerWords | TextWords = found.words if found.words and self.server.ids else TextWords()
        self.end_ids = self.words.end_ids
        self.encode, self.decode, self.piece = self.words.encode, self.words.decode, self.words.piece
        self.max_length = max_length or self.server.max_length or UNKNOWN_LENGTH
        more = {
            Need.LOGPROBS: self.server.logprobs,
            Need.TOP_LOGPROBS: self.server.top >= 20,
            Need.BUDGET: self.server.budget is not None,
        }
        self.provides = HttpEngine.provides | {need for need, there in more.items() if there}
        self.patience_s = patience_s
        self.gate = Gate(connections)
        self.counters = Counters()
        self._client: aiohttp.ClientSession | None = None

    @property
    def client(self) -> aiohttp.ClientSession:
        """The open connections; only inside `async with engine`."""
        if self._client is None:
            raise EngineError("the engine was closed")
        return self._client

    @property
    def upstream(self) -> HttpUpstream:
        return HttpUpstream(self)

    def open(self, question: str, label: str) -> StatelessSequence:
        sequence = self.open_prompt(self.render(question), label)
        check_prompt(sequence.ids, label, self.max_length, answer=self.profile.answer_tokens)
        return sequence

    def open_prompt(self, prompt: str | list[int], label: str) -> StatelessSequence:
        if not isinstance(prompt, str) and not self.server.ids and not self._known(prompt):
            raise BadInput(f"{label}: this server takes no token ids, so the prompt must be given as text.")
        ids = self.words.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_prompt(ids, label, self.max_length)
        return StatelessSequence(self, ids)

    def _known(self, ids: list[int]) -> bool:
        """Return whether tokens are our own numbers of pieces of text."""
        return isinstance(self.words, TextWords) and all(map(self.words.has, ids))

    def render(self, question: str) -> str:
        return self._render(question)

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        variables = variables or {}
        if self._tokenizer is not None:
            return self._tokenizer.render_chat(messages, self.profile, variables)
        if len(messages) == 1 and messages[0].get("role") == "user" and not variables:
            return self.render(messages[0]["content"])
        named = {name: variables[name] for name in ("tools", "documents") if name in variables}
        arguments = {**ON, **{name: value for name, value in variables.items() if name not in named}}
        form = await self.upstream.form(messages, {**named, "chat_template_kwargs": arguments})
        if form is None:
            raise BadInput("messages: this model's server does not show its chat form, so it takes one user message.")
        return self.profile.opened(form) if all(arguments[name] for name in ON) else form

    def unembedding(self) -> NDArray[np.float32]:
        raise Unfit(f"{self.address.base} does not give the output matrix of its model.")

    def describe(self) -> dict[str, Any]:
        return {
            "engine": self.name, "address": self.address.base, **asdict(self.server),
            "tokens": "the server's" if self.server.ids else "by text", "thinking": self._thinking,
            "prefilled": "as the server reports" if self.server.cached else "at most: the server does not report it",
        }  # fmt: skip

    async def __aenter__(self) -> Self:
        self._client = self.address.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self.client, None
        await client.close()

    def refuse(self, request: Request) -> None:
        """Raise `EngineError` for what this server does not give."""
        if request.sampler is not None:
            raise EngineError("a server samples by itself: samplers need the local engine")
        if request.bias and not self.server.ids:
            raise EngineError("a bias on tokens needs a server that takes token ids, and its tokenizer")
        if request.thinking_budget is not None and self.server.budget is None:
            raise EngineError("this server does not end the thinking after a number of tokens by itself")
        watch = request.watch
        if request.signals.entropy or request.signals.hidden or (watch and watch.signal == "entropy"):
            raise EngineError("a server gives neither entropy nor hidden states")
        top = top_wanted(request)
        if (logprobs_wanted(request) and not self.server.logprobs) or top > self.server.top:
            raise EngineError(
                f"{max(1, top)} log-probabilities a token were asked for; this server gives "
                f"{self.server.top if self.server.top or not self.server.logprobs else 'the chosen one only'}"
            )

    async def fill(self, take: Collector, request: Request, computed: ComputedPrefix) -> None:
        """Take tokens until the call is over, in as many streams as the server needs."""
        patience = Patience(self.patience_s)
        while take.reason is None:
            try:
                async with self.gate.slot(urgent=request.urgent):
                    await self._stream(take, request, computed, patience)
            except Broken as fault:
                if fault.status == 429 and not self.retry_busy and len(take.ids) == computed.prompt:
                    raise Refused(str(fault), 429, words=fault.words, retry_s=fault.wait_s) from fault
                self.counters.faults += 1
                await patience.after(fault)

    def _body(self, take: Collector, request: Request, prompt: int) -> dict[str, Any]:
        server = self.server
        own: dict[str, Any] = {"temperature": request.temperature, "top_p": request.top_p}
        settings = own if request.options is None else self._carried(request.options, take.ids[prompt:])
        body: dict[str, Any] = {
            **settings,
            "model": server.model,
            "prompt": take.ids if server.ids else self.decode(take.ids),
            "max_tokens": take.left,
        }
        if request.options is None or "seed" in request.options:
            body["seed"] = random_key(request.key, len(take.ids)) >> 33  # 31 bits: every server takes these
        if take.top_wanted or take.logprobs_wanted or (server.logprobs and not server.ids):
            body["logprobs"] = max(1, take.top_wanted)  # without ids they also say where one token ends
        if server.extended:
            shown = EXTENDED if request.options is None else _SHOWN
            body |= shown | {"stream_options": {"include_usage": True}}
            if not server.ids:
                body = {k: v for k, v in body.items() if not k.startswith("return_token")}
        if server.ids:
            # It ends where we say, only there. The end of thinking is no end to which least tokens apply: we see it.
            ends = request.stop_ids & self.end_ids if settings.get("min_tokens") else request.stop_ids
            body |= {"stop_token_ids": sorted(ends), "ignore_eos": True}
            bias = {str(i): value for i, value in request.bias.items()}
            body |= {"logit_bias": {**settings.get("logit_bias", {}), **bias}} if bias else {}
        if server.budget is not None and request.thinking_budget is not None:
            body |= BUDGETS[server.budget](request.thinking_budget)
        if server.stops and request.stop_texts:
            body |= {"stop": list(request.stop_texts), "include_stop_str_in_output": True}
        return body

    def _carried(self, options: Mapping[str, Any], past: list[int]) -> dict[str, Any]:
        """Return a request's sampling settings for a call that goes on where others ended, after the tokens `past`.

        Servers count within a call, and our calls begin after tokens of the same answer: those count already.
        """
        settings = dict(options)
        if settings.get("min_tokens"):
            settings["min_tokens"] = max(0, settings["min_tokens"] - len(past))
        often, ever = settings.get("frequency_penalty") or 0.0, settings.get("presence_penalty") or 0.0
        if past and (often or ever) and self.server.ids:
            counts = collections.Counter(past)
            paid = {str(i): max(-100.0, -(often * n + ever)) for i, n in counts.items()}
            asked = settings.get("logit_bias") or {}
            settings["logit_bias"] = {**asked, **{i: max(-100.0, v + asked.get(i, 0.0)) for i, v in paid.items()}}
        return settings

    async def _stream(self, take: Collector, request: Request, computed: ComputedPrefix, patience: Patience) -> None:
        """One stream, from the sequence's end as it is now; `Broken` when it ends before the server said why."""
        counters, begin = self.counters, len(take.ids)
        last, usage, known = Chunk(), None, None
        try:
            async with open_stream(self.client, self.address, self._body(take, request, computed.prompt)) as events:
                counters.streams += 1
                known = computed.begin()
                async for event in events:
                    last = read_chunk(event)
                    usage = last.usage or usage
                    self._keep(take, request, last, patience)
                    if last.finish is not None or take.reason is not None:
                        break
                if last.finish is not None:
                    usage = await _farewell(events) or usage
                else:
                    counters.closed += 1
        finally:  # also for what a stream that broke or was cancelled has cost; without a report all of it counts
            if known is not None:
                take.prefilled += computed_again(known, begin, usage.cached or 0 if usage else 0)
                computed.end(len(take.ids))
        if take.reason is None:
            self._end(take, request, last, usage, begin)

    def _keep(self, take: Collector, request: Request, chunk: Chunk, patience: Patience) -> None:
        words, counters = self.words, self.counters
        if isinstance(words, TextWords):
            before = words.decode(take.ids[-_TAIL:])
            tokens = chunk.by_text(words, before, request.stop_texts, self.server.leaks)
        else:
            tokens = chunk.by_id()
        if tokens:
            patience.progress()
            counters.tokens += len(tokens)
        for token in tokens:
            if take.reason is None:
                take.add(token)
            else:
                counters.surplus += 1

    def _end(self, take: Collector, request: Request, last: Chunk, usage: Usage | None, begin: int) -> None:
        """The stream is over and none of our stop conditions has held yet: say what that means, or go on."""
        words, new = self.words, len(take.ids) - begin
        if last.finish is None:
            raise Broken("the stream ended before the answer did")
        if last.finish not in ("stop", "length"):
            raise EngineError(f"the server ended the answer with {last.finish!r}")
        if isinstance(words, TextWords):  # some tokens have no text of their own; the server's count is right
            end = [Token(id=words.END)] if last.finish == "stop" else []
            told = new + len(end) if last.finish == "stop" else new + take.left
            told = usage.completion if usage and usage.completion is not None else told
            silent = [Token(id=words.number(""))] * (told - new - len(end))
            for token in silent + end:
                if take.reason is None:
                    self.counters.tokens += 1
                    take.add(token)
        elif last.finish == "stop" and not last.stopped_by:
            self.counters.tokens += 1
            take.add(Token(id=min(self.end_ids)))  # the server ends the turn without sending its last token
        if take.reason is None and last.finish == "length":  # its context is full, which it had not told
            self.max_length = min(self.max_length, len(take.ids))
            take.reason = "length"
        if take.reason is None and len(take.ids) == begin:
            raise EngineError("the server ended the answer without a token and without a reason")


async def _farewell(events: AsyncIterator[dict[str, Any]]) -> Usage | None:
    """Read a complete answer's stream to its end, where usage stands, so that the connection can be used again."""
    usage = None
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, EngineError):
        async with asyncio.timeout(FAREWELL_S):
            async for event in events:
                usage = read_chunk(event).usage or usage
    return usage

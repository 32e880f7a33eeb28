"""A server that has a chat route and nothing else, as most providers do: it writes whole answers.

Nothing can be put into such an answer and none can be continued, so rules that end the thinking do not run here. What
runs are policies over several whole answers: the first to finish, votes. A chain that stops closes its stream.

The chain's text is made of what comes: thinking from the field in which the server sends it, the tag that ends
thinking, and the answer. A prompt is the conversation itself, as JSON. Tokens are pieces as they come; what the
server's own count has more (thinking that it hides) is added at the end of the chain. A server may be ahead of what it
has sent, so a chain that is stopped can have cost more than is known here.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Need
from satisfice.core.engine import Request, Sampled, random_key
from satisfice.core.errors import BadInput, EngineError, Refused, Unfit
from satisfice.core.profile import R1, Profile, named_profile
from satisfice.core.race import settle_tasks
from satisfice.engines.checks import check_length, check_prompt, check_request, without_room
from satisfice.engines.collector import Collector, Token, logprobs_wanted, top_wanted
from satisfice.engines.http.address import base_of
from satisfice.engines.http.chat_probe import find_chat
from satisfice.engines.http.chunk import around
from satisfice.engines.http.counters import Counters
from satisfice.engines.http.probe import BUDGETS, in_a_loop_of_its_own
from satisfice.engines.http.upstream import UNKNOWN_LENGTH, HttpUpstream
from satisfice.engines.http.wire import Address, Broken, Gate, Patience, open_stream
from satisfice.models.words import TextWords

TAGGED = replace(R1, name="chat", after_open="")
"""How chains are written here: the tags are ours, since the server sends thinking in a field of its own."""

AHEAD = 64  # events that are read before a chain asks for them


class ChatEngine:
    """A model behind an OpenAI-compatible chat route.

    Options are those of `HttpEngine`, without the tokenizer and the template. `budget` names the field by which the
    server ends thinking after a number of tokens, one of those in `BUDGETS`; nothing here can find that out.

    Raises:
        BadInput: nobody answers there, or the chat route does not stream.
    """

    name = "chat"

    def __init__(
        self,
        address: str,
        *,
        model: str | None = None,
        profile: Profile | str | None = None,
        max_length: int | None = None,
        connections: int = 64,
        silence_s: float = 60.0,
        first_s: float | None = None,
        patience_s: float = 120.0,
        key_env: str = "SATISFICE_API_KEY",
        retry_busy: bool = True,
        budget: str | None = None,
    ) -> None:
        if budget is not None and budget not in BUDGETS:
            raise BadInput(f"ChatEngine: budget must be one of {', '.join(BUDGETS)}, got {budget!r}.")
        self.address = Address(
            base=base_of(address), key_env=key_env, silence_s=silence_s, first_s=first_s or 10 * silence_s
        )
        given = named_profile(profile) if isinstance(profile, str) else profile
        self.profile = TAGGED if given is None else replace(given, after_open="")
        self.found = in_a_loop_of_its_own(find_chat(self.address, model=model, budget=budget, profile=self.profile))
        self.server = replace(self.found.server, max_length=max_length or self.found.server.max_length)
        self.words = TextWords()
        self.end_ids = self.words.end_ids
        self.encode, self.decode, self.piece = self.words.encode, self.words.decode, self.words.piece
        self.max_length = (
            UNKNOWN_LENGTH  # tokens of a prompt are a guess here: whether it fits is the provider's to say
        )
        self.provides = frozenset({Need.ABORT, Need.RENDER, *([Need.BUDGET] if budget else [])})
        self.patience_s, self.retry_busy = patience_s, retry_busy
        self.gate = Gate(connections)
        self.counters = Counters()
        self.tasks: set[asyncio.Task[None]] = set()
        self._client: aiohttp.ClientSession | None = None

    @property
    def client(self) -> aiohttp.ClientSession:
        """The open connections; only inside `async with engine`."""
        if self._client is None:
            raise EngineError("the engine was closed")
        return self._client

    @property
    def upstream(self) -> HttpUpstream:
        return HttpUpstream(self, whole=True)

    def open(self, question: str, label: str) -> "ChatSequence":
        return self.open_prompt(self.render(question), label)

    def open_prompt(self, prompt: str | list[int], label: str) -> "ChatSequence":
        text = prompt if isinstance(prompt, str) else self.decode(prompt)
        ids = self.encode(text)
        check_prompt(ids, label, self.max_length)
        try:
            asked = json.loads(text.removesuffix(self.profile.think_open))
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or "messages" not in asked:
            raise BadInput(f"{label}: this server has a chat route alone, so it takes messages and continues no text.")
        return ChatSequence(self, asked, ids)

    def render(self, question: str) -> str:
        return self._rendered([{"role": "user", "content": question}], {})

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        return self._rendered(messages, variables or {})

    def _rendered(self, messages: list[dict[str, Any]], variables: Mapping[str, Any]) -> str:
        named = {name: variables[name] for name in ("tools", "documents") if name in variables}
        arguments = {name: value for name, value in variables.items() if name not in (*named, "reasoning_effort")}
        more = {"chat_template_kwargs": arguments} if arguments else {}
        return json.dumps({"messages": messages, **named, **more}, ensure_ascii=False) + self.profile.think_open

    def unembedding(self) -> NDArray[np.float32]:
        raise Unfit(f"{self.address.base} does not give the output matrix of its model.")

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, "address": self.address.base, **asdict(self.server), "tokens": "by text"}

    async def __aenter__(self) -> Self:
        self._client = self.address.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await settle_tasks(self.tasks)
        client, self._client = self.client, None
        await client.close()

    def refuse(self, request: Request) -> None:
        """Raise `EngineError` for what a chat route does not give."""
        signals = request.signals
        if logprobs_wanted(request) or top_wanted(request) or signals.entropy or signals.hidden or request.watch:
            raise EngineError("a chat route gives no signals with its tokens")
        if request.sampler is not None or request.bias:
            raise EngineError("a chat route samples by itself: samplers and biases need another engine")
        if request.thinking_budget is not None and self.server.budget is None:
            raise EngineError("this server is not known to end the thinking after a number of tokens by itself")

    def body(self, asked: Mapping[str, Any], request: Request, ids: list[int]) -> dict[str, Any]:
        """Return the request for one whole answer."""
        options = request.options
        own: dict[str, Any] = {"temperature": request.temperature, "top_p": request.top_p}
        settings = dict(own if options is None else options)
        limit = settings.pop("max_tokens", None) or (self.profile.max_tokens if options is None else None)
        if options is None or "seed" in options:
            settings["seed"] = random_key(request.key, len(ids)) >> 33
        if self.server.budget is not None and request.thinking_budget is not None:
            settings |= BUDGETS[self.server.budget](request.thinking_budget)
        return {
            **settings, **asked, "model": self.server.model, **({} if limit is None else {self.found.limit: limit}),
            **({"stream_options": {"include_usage": True}} if self.server.extended else {}),
        }  # fmt: skip


@dataclass
class _Answer:
    """What has come of one answer, as tokens that wait to be taken; filled by a task that reads the stream."""

    waiting: deque[Token]
    more: asyncio.Event  # something came, or the answer is over
    room: asyncio.Event  # there is room for more
    begun: bool = False  # something has come
    ended: str = ""  # the server's reason
    error: Exception | None = None


class ChatSequence:
    """A conversation, and the one answer to it that is being written."""

    def __init__(self, engine: ChatEngine, asked: Mapping[str, Any], ids: list[int]) -> None:
        self._engine, self._asked, self.ids, self._prompt = engine, asked, ids, len(ids)
        self._answer: _Answer | None = None
        self._task: asyncio.Task[None] | None = None
        self._sampling = self._altered = False
        self.last: Sampled | None = None

    def fork(self, length: int) -> "ChatSequence":
        check_length(length, self.ids)
        if length != self._prompt:
            raise BadInput("a chat route begins answers and continues none, so no answer can be copied half-way.")
        return ChatSequence(self._engine, self._asked, self.ids[:length])

    def extend(self, ids: list[int]) -> None:
        self._check_idle()
        self._altered = self._altered or bool(ids)
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        self._check_idle()
        check_length(length, self.ids)
        self._altered = self._altered or length < len(self.ids)
        del self.ids[length:]

    async def sample(self, request: Request) -> Sampled:
        self._check_idle()
        check_request(request)
        engine = self._engine
        engine.refuse(request)
        if (nothing := without_room(self.ids, request, engine.max_length)) is not None:
            self.last = nothing
            return nothing
        if self._altered:
            if self._answer is not None and self._answer.ended == "length":  # what the chain is told of a limit
                self.last = Sampled(ids=(), reason="budget", cut=len(self.ids))
                return self.last
            raise EngineError("a chat route begins answers and continues none: nothing can be put into this one")
        take = Collector(self.ids, request, engine.decode, max_length=engine.max_length)
        self._sampling = True
        try:
            await self._fill(take, request)
        finally:
            self._sampling, self.last = False, take.result()
        if take.reason is None:  # the server's own limit
            self.last = replace(self.last, reason="budget")
        return self.last

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._answer is not None:
            self._engine.counters.surplus += len(self._answer.waiting)

    def _check_idle(self) -> None:
        if self._sampling:
            raise EngineError("the sequence is being sampled from; wait for that call, or fork the sequence")

    async def _fill(self, take: Collector, request: Request) -> None:
        if self._answer is None:
            self._answer = _Answer(deque(), asyncio.Event(), asyncio.Event())
            self._answer.room.set()
            body = self._engine.body(self._asked, request, self.ids)
            self._task = asyncio.create_task(_read(self._engine, body, self._answer))
            self._engine.tasks.add(self._task)
            self._task.add_done_callback(self._engine.tasks.discard)
        answer = self._answer
        while take.reason is None:
            while not answer.waiting:
                if answer.error is not None:
                    raise answer.error
                if answer.ended:
                    return
                answer.more.clear()
                await answer.more.wait()
            self._engine.counters.tokens += 1
            take.add(answer.waiting.popleft())
            if len(answer.waiting) < AHEAD:
                answer.room.set()


async def _read(engine: ChatEngine, body: dict[str, Any], answer: _Answer) -> None:
    """Read one answer to its end, no faster than it is taken; what goes wrong is told there."""
    patience = Patience(engine.patience_s)
    try:
        while not answer.ended:
            try:
                async with engine.gate.slot(urgent=False):
                    await _stream(engine, body, answer)
            except Broken as fault:
                engine.counters.faults += 1
                if fault.status == 429 and not engine.retry_busy:
                    raise Refused(str(fault), 429, words=fault.words, retry_s=fault.wait_s) from fault
                if answer.begun:
                    raise EngineError(f"{fault}; a chat route continues no answer, so this one is lost") from fault
                await patience.after(fault)
    except asyncio.CancelledError:
        engine.counters.closed += 1
        raise
    except Exception as error:  # noqa: BLE001 - whoever waits for tokens hears of it
        answer.error = error
    finally:
        answer.more.set()


async def _stream(engine: ChatEngine, body: dict[str, Any], answer: _Answer) -> None:
    pieces, words = _Pieces(engine), engine.words
    async with open_stream(engine.client, engine.address, body, path="chat/completions") as events:
        engine.counters.streams += 1
        finish, told = "", None
        async for event in events:
            told = _count(event) or told
            for choice in (event.get("choices") or [])[:1]:
                if not isinstance(choice, dict) or not isinstance(choice.get("delta") or {}, dict):
                    raise EngineError("the server sent an event of a form that is not OpenAI's")
                finish = choice.get("finish_reason") or finish
                answer.waiting.extend(pieces.take(choice.get("delta") or {}))
            if answer.waiting:
                answer.begun = True
                answer.more.set()
            if len(answer.waiting) >= AHEAD:
                answer.room.clear()
                await answer.room.wait()
    answer.waiting.extend(pieces.rest())
    if finish not in ("stop", "length"):
        if not finish:
            raise Broken("the stream ended before the answer did")
        raise EngineError(f"the server ended the answer with {finish!r}")
    end = [Token(id=words.END)] if finish == "stop" else []
    silent = max(0, (told or 0) - pieces.count - len(end))
    answer.waiting.extend([Token(id=words.number(""))] * silent + end)
    answer.ended = finish


class _Pieces:
    """Turns what comes into tokens: thinking, the tag that ends it, the answer."""

    def __init__(self, engine: ChatEngine) -> None:
        self._words, self._opens, self._closes = engine.words, engine.profile.think_open, engine.profile.think_close
        self._begun = self._thinks = engine.found.opened  # thinking stands in the answer itself
        self._closed = False
        self._head = ""  # the beginning of an answer that may be the tag which opens thinking
        self.count = 0

    def take(self, delta: Mapping[str, Any]) -> list[Token]:
        """Return the tokens of one event."""
        found: list[str] = []
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._begun = True
            found.append(str(thought))
        if text := delta.get("content"):
            found += self._answer(str(text))
        self.count += len(found)
        return [Token(id=self._words.number(piece)) for piece in found]

    def rest(self) -> list[Token]:
        """Return the tokens that were kept back."""
        head, self._head = self._head, ""
        found = [self._closes, head] if head and not self._begun else []
        self.count += len(found)
        return [Token(id=self._words.number(piece)) for piece in found]

    def _answer(self, text: str) -> list[str]:
        if not self._begun:  # thinking may stand in the answer itself, between its tags
            text, self._head = self._head + text, ""
            bare = text.lstrip()
            if self._opens.startswith(bare):
                self._head = text
                return []
            self._begun = True
            if bare.startswith(self._opens):
                self._thinks, text = True, bare.removeprefix(self._opens)
        if self._thinks:
            return around("", text, (self._closes,)) if text else []
        closing = [] if self._closed else [self._closes]
        self._closed = True
        return [*closing, text]


def _count(event: Mapping[str, Any]) -> int | None:
    usage = event.get("usage")
    told = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return told if type(told) is int else None

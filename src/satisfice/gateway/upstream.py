"""Where the tokens of a gateway come from: a model in this process, or servers of which any may fail."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.core.race import settle_tasks
from satisfice.gateway.body import Body, ChatBody, CompletionBody, Message
from satisfice.gateway.run import Prompt

REST_S = (1.0, 15.0)  # a server that failed is left alone for so long at first, and at most


class Unavailable(SatisficeError):
    """No engine is there to serve a request."""


@dataclass(eq=False, kw_only=True)
class Source:
    """One engine, or the place where there will be one."""

    name: str  # for people
    make: Callable[[], Engine]
    engine: Engine | None = None
    problem: str = "it is being started"  # why it cannot be used; "" when it can
    running: int = 0
    faults: int = 0  # in a row
    rested: float = 0.0  # monotonic seconds; not before
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def open(self) -> None:
        """Make the engine; `problem` says why that failed."""
        try:
            engine = await asyncio.to_thread(self.make)
            self.engine, self.problem = await self.stack.enter_async_context(engine), ""
        except SatisficeError as error:
            self.problem = str(error)

    def failed(self, error: Exception) -> None:
        """It failed in the middle of something: others go first for a while."""
        self.faults += 1
        self.problem = str(error)
        self.rested = time.monotonic() + min(REST_S[1], REST_S[0] * 2.0 ** (self.faults - 1))

    def worked(self) -> None:
        """It did what it should."""
        self.faults, self.problem = 0, ""


class Sources:
    """The engines of a gateway, which all run the same model. Use it as an async context manager."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.all = list(sources)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether a request would find an engine now."""
        return any(source.engine is not None and not source.problem for source in self.all)

    @property
    def first(self) -> Engine:
        """Any engine that was opened: they are alike."""
        for source in self.all:
            if source.engine is not None:
                return source.engine
        raise Unavailable("; ".join(f"{source.name}: {source.problem}" for source in self.all))

    def in_turn(self) -> list[Source]:
        """Engines in the order in which to try them: those that work, least busy first; then those that rested."""
        now = time.monotonic()
        open_ = [source for source in self.all if source.engine is not None]
        rested = [source for source in open_ if not source.problem or source.rested <= now]
        if not rested and not open_:
            self.first  # noqa: B018 - says why there is none
        return sorted(rested or open_, key=lambda source: (bool(source.problem), source.running))

    async def __aenter__(self) -> "Sources":
        await asyncio.gather(*(source.open() for source in self.all))
        self._tasks = {asyncio.create_task(_keep_trying(source)) for source in self.all if source.engine is None}
        return self

    async def __aexit__(self, *_: object) -> None:
        await settle_tasks(self._tasks)
        for source in self.all:
            await source.stack.aclose()


async def _keep_trying(source: Source) -> None:
    pause = REST_S[0]
    while source.engine is None:
        await asyncio.sleep(pause)
        await source.open()
        pause = min(REST_S[1], 2 * pause)


def http_source(address: str, *, key_env: str) -> Source:
    """A server. Unless its address says otherwise, it is given 20 s without a token before another is tried."""
    from satisfice.engines.http.engine import HttpEngine, base_of, options_in

    options = {"key_env": key_env, "patience_s": 20.0, "connections": 1024, **options_in(address)}
    return Source(name=base_of(address), make=lambda: HttpEngine(address, **options))


async def prompt_of(body: Body, engine: Engine) -> Prompt:
    """What the model is asked by a request.

    Raises:
        BadInput: the model's chat form does not take this conversation.
    """
    if isinstance(body, CompletionBody):
        text = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
        return Prompt(text=text, question=text)
    assert isinstance(body, ChatBody)
    messages = [{"role": _role(message), "content": _text(message)} for message in body.messages]
    alone = len(messages) == 1 and messages[0]["role"] == "user"
    question = messages[0]["content"] if alone else "\n\n".join(f"{m['role']}: {m['content']}" for m in messages)
    try:
        text = await engine.render_chat(messages)
    except SatisficeError:
        raise
    except Exception as error:  # whatever a template trips over; templates are the model's own code, sandboxed
        raise BadInput(f"messages: the chat form of this model does not take them: {error}") from error
    return Prompt(text=text, question=question)


def leaves_thinking_open(prompt: str, engine: Engine) -> bool:
    """Whether what follows a prompt is thinking."""
    profile = engine.profile
    return prompt.rfind(profile.think_open) > prompt.rfind(profile.think_close)


def _role(message: Message) -> str:
    return "system" if message.role == "developer" else message.role


def _text(message: Message) -> str:
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content)
    return message.content or ""

"""The server behind an engine, for whatever is no chain: its own routes, its chat form, its budgets of thinking."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

import aiohttp

from satisfice.core.errors import EngineError
from satisfice.engines.http.probe import BUDGETS, Server, chat_form
from satisfice.engines.http.wire import Address, Broken, ask

UNKNOWN_LENGTH = 1 << 20  # tokens, where a server does not say how long a sequence may be
CHECK_S = 5.0  # for a server to say that it is there


class Served(Protocol):
    """What an engine over HTTP knows of its server."""

    address: Address
    server: Server
    max_length: int

    @property
    def client(self) -> aiohttp.ClientSession: ...


class HttpUpstream:
    """A server, for requests that are handed on as they are. `whole`: it writes whole answers and continues no text."""

    def __init__(self, engine: Served, *, whole: bool = False) -> None:
        self._engine, self.whole = engine, whole

    @property
    def model(self) -> str:
        return self._engine.server.model

    @property
    def takes_ids(self) -> bool:
        """Whether it takes and gives token ids."""
        return self._engine.server.ids

    @property
    def known_length(self) -> int | None:
        """Its context in tokens; None where nobody knows."""
        if self.whole:
            return self._engine.server.max_length
        length = self._engine.max_length
        return length if length < UNKNOWN_LENGTH else None

    def budget(self, tokens: int) -> dict[str, Any]:
        """Return the field by which this server ends thinking after so many tokens; none where it does not."""
        name = self._engine.server.budget
        return {} if name is None else BUDGETS[name](tokens)

    async def form(self, messages: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]) -> str | None:
        """Return a conversation as the server itself writes it; None when it does not show that.

        Raises:
            EngineError: nobody answers there.
        """
        engine = self._engine
        try:
            return await chat_form(engine.client, engine.address, self.model, [dict(m) for m in messages], fields)
        except Broken as error:
            raise EngineError(str(error)) from error

    @contextlib.asynccontextmanager
    async def ask(
        self, path: str, body: Mapping[str, Any] | None, *, seconds: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        engine = self._engine
        sent = None if body is None else {**body, **({"model": self.model} if "model" in body else {})}
        url = engine.address.root + path
        try:
            async with (
                asyncio.timeout(seconds),
                ask(engine.client, engine.address, url, sent, first_s=seconds) as response,
            ):
                yield response
        except Broken as error:
            raise EngineError(f"the upstream failed: {error}") from error
        except TimeoutError as error:
            raise EngineError(f"the upstream took more than {seconds:g} s") from error

    async def check(self) -> None:
        """Ask whether the server is there; `EngineError` when it is not."""
        async with self.ask("/v1/models", None, seconds=CHECK_S) as response:
            if response.status >= 500:
                raise EngineError(f"the upstream answered {response.status}")

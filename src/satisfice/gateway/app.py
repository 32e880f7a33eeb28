"""The routes of the gateway."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from satisfice.catalog import canonical
from satisfice.core.engine import Engine
from satisfice.core.errors import SatisficeError
from satisfice.core.race import settle_tasks
from satisfice.gateway.failures import Failure, RequestRefused, failure_of
from satisfice.gateway.generation import Generation
from satisfice.gateway.handler import RequestHandler, Shared
from satisfice.gateway.keeping import Keeper
from satisfice.gateway.limiter import ConnectionLimiter
from satisfice.gateway.metrics import Metrics
from satisfice.gateway.monitor import Watch, WatchCollector
from satisfice.gateway.openapi import describe
from satisfice.gateway.page import page
from satisfice.gateway.parameters import Parameters
from satisfice.gateway.prompts import Prompt
from satisfice.gateway.protocols import ROUTES, Route, form_of
from satisfice.gateway.reading import read_json
from satisfice.gateway.reasoning import Delta, content_of
from satisfice.gateway.response import ResponseWriter, WatchedResponse
from satisfice.gateway.settings import Settings
from satisfice.gateway.upstream import Sources
from satisfice.gateway.utility import GETS, POSTS, pass_path

log = logging.getLogger("satisfice.gateway")

SHADOWS = 8  # rules that run beside answers at once; more requests are not shadowed


def create_app(
    sources: Sources,
    settings: Settings,
    *,
    name: str | None = None,
    when_open: Callable[["Gateway"], None] = lambda gateway: None,
    told: Callable[[dict[str, Any]], None] = lambda about: None,
) -> Starlette:
    """Return the gateway as an ASGI application.

    `name` is what the model is called; default: what its engine calls it. `when_open` is called once the engines have
    been tried for the first time, `told` with what became of each request.
    """
    gateway = Gateway(sources, settings, name, told)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with sources:
            when_open(gateway)
            try:
                yield
            finally:
                await settle_tasks(gateway.shadows)

    async def refused(request: Request, error: Exception) -> Response:
        gateway.metrics.refused()
        failure = failure_of(error)
        return JSONResponse(form_of(request.url.path).error(failure), failure.status, failure.headers)

    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = f"{error.detail}. See /openapi.json for what there is."
        failure = Failure(status=error.status_code, kind="invalid_request_error", code="no_route", message=said)
        return JSONResponse(form_of(request.url.path).error(failure), error.status_code, dict(error.headers or {}))

    async def openapi(request: Request) -> Response:
        return JSONResponse(describe(gateway.settings))

    async def home(request: Request) -> Response:
        return page()

    routes = [
        *(StarletteRoute(route.path, Generate(gateway, route), methods=["POST"]) for route in ROUTES),
        *(StarletteRoute(get.path, get.answers(gateway), methods=["GET"]) for get in GETS),
        *(StarletteRoute(post.path, post.answers(gateway), methods=["POST"]) for post in POSTS),
        StarletteRoute("/openapi.json", openapi, methods=["GET"]),
        StarletteRoute("/", home, methods=["GET"]),
        *(StarletteRoute(path, pass_path(gateway, path), methods=["GET", "POST"]) for path in settings.passed),
    ]
    handlers: dict[Any, Any] = {SatisficeError: refused, HTTPException: no_route}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.state.gateway = gateway
    return app


class Generate:
    """A route that generates. As an application it is spared what wraps a function, at each token."""

    def __init__(self, gateway: "Gateway", route: Route) -> None:
        self._gateway, self._route = gateway, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._gateway.response_to(Request(scope, receive), self._route)
        await response(scope, receive, send)


class Gateway:
    """The state of a running gateway."""

    def __init__(
        self, sources: Sources, settings: Settings, name: str | None, told: Callable[[dict[str, Any]], None]
    ) -> None:
        self.sources, self._name = sources, name
        self.metrics = Metrics()
        self.limiter = ConnectionLimiter(settings.keys, settings.limits)
        self.shared = Shared(
            sources=sources, settings=settings, metrics=self.metrics, limiter=self.limiter, shadow=self.shadow,
            watch=_watch(settings), told=told,
        )  # fmt: skip
        self.metrics.registry.register(WatchCollector(self))
        kept = settings.keep_for_calibration
        self.keeper = Keeper(Path(settings.kept_file), kept, settings.kept_days) if kept else None
        self.since = int(time.time())
        self.shadows: set[asyncio.Task[None]] = set()
        self._skipped = 0  # requests that were not shadowed, because too many were at once

    @property
    def settings(self) -> Settings:
        """What holds for the next request."""
        return self.shared.settings

    def configure(self, settings: Settings) -> None:
        """Let other settings hold from the next request on; those that run keep theirs."""
        if (settings.promise, settings.policy, settings.on_broken_promise) != (
            self.settings.promise, self.settings.policy, self.settings.on_broken_promise,
        ):  # fmt: skip
            self.shared.watch = _watch(settings)  # another promise is watched from its beginning
        self.shared.settings = settings
        self.limiter.configure(settings.keys, settings.limits)

    @property
    def model(self) -> str:
        """What the model is called."""
        if self._name is not None:
            return self._name
        source = self.sources.first
        if source.server is not None:
            return source.server.model
        assert source.engine is not None
        told = source.engine.describe()
        return str(told.get("model", told["engine"])).rstrip("/").rsplit("/", 1)[-1]

    def figures(self) -> dict[str, Any]:
        """Return what the page shows."""
        return {
            **self.metrics.figures(), "running": self.limiter.running, "since": self.since,
            "policy": canonical(self.settings.policy), "shadow": self.settings.shadow,
            "kept": None if self.keeper is None else len(self.keeper.rows),
            "promise": None if self.shared.watch is None else self.shared.watch.figures(),
            "control_share": self.settings.control, "not_shadowed": self._skipped, "ready": self.sources.ready,
            "sources": [{"name": s.name, "problem": s.problem, "running": s.running} for s in self.sources.all],
        }  # fmt: skip

    def check_key(self, request: Request) -> Any:
        """Return the client that sends a request; `RequestRefused` without a valid key."""
        return self.limiter.client(request.headers.get("authorization", ""), request.headers.get("x-api-key", ""))

    async def response_to(self, request: Request, route: Route) -> Response:
        """Check a request and make the response that serves it."""
        client = self.check_key(request)
        asked = route.read(await read_json(request, self.settings.limits.body))
        self.check_model(asked.fields.get("model"))
        if self.keeper is not None and self.keeper.offer(asked):
            self._writing = asyncio.create_task(asyncio.to_thread(self.keeper.write_quietly))
        handler = RequestHandler(self.shared, route, asked, client, self.model)
        return WatchedResponse(handler.serve, {"x-request-id": handler.id}, slow_s=self.settings.slow_s)

    def check_model(self, name: object) -> None:
        """Refuse a model that is not there."""
        if name is not None and name != self.model:
            said = f"There is no model {str(name)[:100]!r}. There is {self.model!r}."
            raise RequestRefused(404, said, code="model_not_found")

    def shadow(self, parameters: Parameters, engine: Engine, prompt: Prompt, spent: int, text: str) -> None:
        """Find out beside everything else what a rule would have made of a request that ran without it."""
        if len(self.shadows) >= SHADOWS:
            self._skipped += 1
            return
        task = asyncio.create_task(self._shadow(parameters, engine, prompt, spent, text))
        self.shadows.add(task)
        task.add_done_callback(self.shadows.discard)

    async def _shadow(self, parameters: Parameters, engine: Engine, prompt: Prompt, spent: int, text: str) -> None:
        generation, said = Generation(parameters, engine, prompt, self.settings.limits), list[Delta]()

        async def hear(deltas: list[Delta]) -> None:
            said.extend(deltas)

        try:
            outcome = await generation.go(hear)
        except SatisficeError as error:
            log.warning("the rule failed beside an answer: %s", type(error).__name__)
            return
        ruled, watch = content_of(said), self.shared.watch
        self.metrics.shadowed(same=ruled.strip() == text.strip())
        if watch is not None and parameters.policy == self.settings.policy:
            watch.compared(text, ruled, engine.profile.answer_form)
        if not self.settings.shadow:  # a request of control: the rule ran to be compared, and lengths are counted there
            self.metrics.took(generation.ledger, parameters.name, "shadow")
            return
        self.metrics.compare("ruled", generation.ledger.spent)
        self.metrics.compare("control", spent)
        self.metrics.stopped(parameters.name, outcome.stopped)
        if watch is not None and parameters.policy == self.settings.policy:
            watch.saved = watch.saved.pair(spent, outcome.spent)
            watch.came(outcome.prompt_tokens, *generation.first_look)


def _watch(settings: Settings) -> Watch | None:
    """Return the watch over the promise of the policy, from its beginning; None where nothing was promised."""
    return None if settings.promise is None else Watch(settings.promise, settings.on_broken_promise)


__all__ = ["Gateway", "Generate", "ResponseWriter", "create_app"]

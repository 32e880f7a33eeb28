"""The routes of the gateway, and what happens to a request on its way."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from satisfice.catalog import canonical
from satisfice.core.engine import Engine
from satisfice.core.errors import SatisficeError
from satisfice.core.race import settle_tasks
from satisfice.gateway.body import Body, ChatBody, CompletionBody
from satisfice.gateway.door import Door, Refusal, read_body
from satisfice.gateway.exchange import Exchange, House, answer_to, content_of
from satisfice.gateway.metrics import Metrics
from satisfice.gateway.openapi import describe
from satisfice.gateway.page import page
from satisfice.gateway.plan import Plan
from satisfice.gateway.reply import Reply
from satisfice.gateway.run import Prompt, Run
from satisfice.gateway.settings import Settings
from satisfice.gateway.shown import Piece
from satisfice.gateway.upstream import Sources
from satisfice.gateway.wire import error_of

log = logging.getLogger("satisfice.gateway")

SHADOWS = 8  # rules that run beside answers at once; more requests are not shadowed


def create_app(
    sources: Sources, settings: Settings, *, name: str | None = None, when_open: Callable[[], None] = lambda: None
) -> Starlette:
    """The gateway as an ASGI application.

    `name` is what the model is called; default: what its engine calls it. `when_open` is called once the engines have
    been tried for the first time.
    """
    gateway = Gateway(sources, settings, name)
    description = describe(settings)

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        async with sources:
            when_open()
            try:
                yield
            finally:
                await settle_tasks(gateway.shadows)

    async def models(request: Request) -> Response:
        gateway.door.guest(request.headers.get("authorization", ""))
        row = {"id": gateway.model, "object": "model", "created": gateway.since, "owned_by": "satisfice"}
        return JSONResponse({"object": "list", "data": [{**row, "max_model_len": sources.first.max_length}]})

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        rows = [{"name": source.name, "problem": source.problem} for source in sources.all]
        ready = sources.ready
        return JSONResponse({"ready": ready, "sources": rows}, 200 if ready else 503)

    async def metrics(request: Request) -> Response:
        return Response(gateway.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def figures(request: Request) -> Response:
        return JSONResponse(gateway.figures())

    async def openapi(request: Request) -> Response:
        return JSONResponse(description)

    async def home(request: Request) -> HTMLResponse:
        return page()

    async def told(request: Request, error: Exception) -> Response:
        gateway.metrics.refused()
        status, row, headers = answer_to(error)
        return JSONResponse(row, status, headers)

    async def strange(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        row = error_of(f"{error.detail}. See /openapi.json for what there is.", "invalid_request_error")
        return JSONResponse(row, error.status_code, dict(error.headers or {}))

    gets = {
        "/v1/models": models, "/healthz": healthz, "/readyz": readyz, "/metrics": metrics, "/figures": figures,
        "/openapi.json": openapi, "/": home,
    }  # fmt: skip
    routes = [
        Route("/v1/chat/completions", Post(gateway, ChatBody), methods=["POST"]),
        Route("/v1/completions", Post(gateway, CompletionBody), methods=["POST"]),
        *(Route(path, answer, methods=["GET"]) for path, answer in gets.items()),
    ]
    handlers: dict[Any, Any] = {SatisficeError: told, HTTPException: strange}
    app = Starlette(routes=routes, lifespan=life, exception_handlers=handlers)
    app.state.gateway = gateway
    return app


class Post:
    """A route for one kind of request. As an application it is spared what wraps a function, at each token."""

    def __init__(self, gateway: "Gateway", kind: type[Body]) -> None:
        self._gateway, self._kind = gateway, kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._gateway.take(Request(scope, receive), self._kind)
        await response(scope, receive, send)


class Gateway:
    """The state of a running gateway."""

    def __init__(self, sources: Sources, settings: Settings, name: str | None) -> None:
        self.sources, self.settings, self._name = sources, settings, name
        self.metrics = Metrics()
        self.door = Door(settings.keys, settings.limits)
        self.house = House(
            sources=sources, settings=settings, metrics=self.metrics, door=self.door, shadow=self.shadow
        )  # fmt: skip
        self.since = int(time.time())
        self.shadows: set[asyncio.Task[None]] = set()
        self._skipped = 0  # requests that were not shadowed, because too many were at once

    @property
    def model(self) -> str:
        """What the model is called."""
        return self._name or model_name(self.sources.first)

    def figures(self) -> dict[str, Any]:
        """What the page shows."""
        return {
            **self.metrics.figures(), "running": self.door.running, "since": self.since,
            "policy": canonical(self.settings.policy), "shadow": self.settings.shadow,
            "control_share": self.settings.control, "not_shadowed": self._skipped, "ready": self.sources.ready,
            "sources": [{"name": s.name, "problem": s.problem, "running": s.running} for s in self.sources.all],
        }  # fmt: skip

    async def take(self, request: Request, kind: type[Body]) -> Response:
        """Check a request and make the response that serves it."""
        guest = self.door.guest(request.headers.get("authorization", ""))
        body, raw = await read_body(request, kind, self.settings.limits.body)
        if body.model is not None and body.model != self.model:
            raise Refusal(
                404, f"There is no model {body.model[:100]!r}. There is {self.model!r}.", code="model_not_found"
            )
        exchange = Exchange(self.house, body, raw, guest, self.model)
        return Reply(exchange.serve, {"x-request-id": exchange.id}, slow_s=self.settings.slow_s)

    def shadow(self, plan: Plan, engine: Engine, prompt: Prompt, spent: int, text: str) -> None:
        """Find out beside everything else what a rule would have made of a request that ran without it."""
        if len(self.shadows) >= SHADOWS:
            self._skipped += 1
            return
        task = asyncio.create_task(self._shadow(plan, engine, prompt, spent, text))
        self.shadows.add(task)
        task.add_done_callback(self.shadows.discard)

    async def _shadow(self, plan: Plan, engine: Engine, prompt: Prompt, spent: int, text: str) -> None:
        run, said = Run(plan, engine, prompt, self.settings.limits), []

        async def hear(pieces: list[Piece]) -> None:
            said.extend(pieces)

        try:
            outcome = await run.go(hear)
        except SatisficeError as error:
            log.warning("the rule failed beside an answer: %s", type(error).__name__)
            return
        self.metrics.ruled.add(run.ledger.spent)
        self.metrics.control.add(spent)
        self.metrics.same_answer.add(float(content_of(said).strip() == text.strip()))
        self.metrics.stopped(plan.name, outcome.stopped)


def model_name(engine: Engine) -> str:
    """What a model is called, by its engine."""
    if engine.upstream is not None:
        return engine.upstream.model
    return str(engine.describe()["model"]).rstrip("/").rsplit("/", 1)[-1]

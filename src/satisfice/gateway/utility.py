"""The routes that do not generate: models, health, tokens, embeddings, figures; and what is passed through by name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from satisfice.core.errors import BadInput, EngineError
from satisfice.gateway import anthropic, ollama
from satisfice.gateway.body import ChatBody
from satisfice.gateway.failures import RequestRefused, Unavailable
from satisfice.gateway.passing import check_refused, copy, refused
from satisfice.gateway.prompts import prompts_of
from satisfice.gateway.protocols import ROUTES
from satisfice.gateway.reading import checked, read_bytes, read_json
from satisfice.gateway.response import ResponseWriter, WatchedResponse

if TYPE_CHECKING:
    from satisfice.gateway.app import Gateway

Answer = Callable[[Request], Awaitable[Response]]

COUNT_S = 60.0  # for an upstream to count the tokens of messages


@dataclass(frozen=True, kw_only=True)
class Utility:
    """One route that does not generate, as the description of the interface shows it."""

    path: str
    summary: str
    answers: Callable[["Gateway"], Answer]
    refusals: tuple[int, ...] = ()  # statuses besides 200
    media: str = "application/json"
    needs_key: bool = False


def _models(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        gateway.check_key(request)
        return JSONResponse({"object": "list", "data": [_model(gateway)]})

    return answer


def _one_model(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        gateway.check_key(request)
        gateway.check_model(request.path_params["id"])
        return JSONResponse(_model(gateway))

    return answer


def _length(gateway: "Gateway") -> int | None:
    source = gateway.sources.first
    return source.server.known_length if source.server is not None else getattr(source.engine, "max_length", None)


def _model(gateway: "Gateway") -> dict[str, Any]:
    length = _length(gateway)
    row = {"id": gateway.model, "object": "model", "created": gateway.since, "owned_by": "satisfice"}
    return row if length is None else {**row, "max_model_len": length}


def _alive(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return answer


def _ready(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        rows = [{"name": source.name, "problem": source.problem} for source in gateway.sources.all]
        ready = gateway.sources.ready
        return JSONResponse({"ready": ready, "sources": rows}, 200 if ready else 503)

    return answer


def _metrics(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        gateway.metrics.ready({source.name: not source.problem for source in gateway.sources.all})
        return Response(gateway.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return answer


def _figures(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        return JSONResponse(gateway.figures())

    return answer


def _tokenize(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        client = gateway.check_key(request)
        row = await read_json(request, gateway.settings.limits.body)
        check_refused(row)
        gateway.check_model(row.get("model"))
        source = gateway.sources.first
        if source.server is not None:
            return _passed(gateway, "/tokenize", {**row, "model": source.server.model}, client)
        engine: Any = source.engine
        if "messages" in row:
            checked(ChatBody, row)
            [prompt] = await prompts_of(ROUTES[0].read(row), source)
            text = prompt.text
        elif isinstance(row.get("prompt"), str):
            text = row["prompt"]
        else:
            raise BadInput("prompt: must be a string, or give messages in its place.")
        ids = engine.encode(text)
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": engine.max_length, "prompt": text})

    return answer


def _count_tokens(gateway: "Gateway") -> Answer:
    """Make the route for Anthropic's count of what a message would read."""

    async def answer(request: Request) -> Response:
        gateway.check_key(request)
        row = await read_json(request, gateway.settings.limits.body)
        asked = anthropic.read_count(row)
        check_refused(asked.fields)
        gateway.check_model(asked.fields.get("model"))
        source = gateway.sources.first
        if source.server is None:
            [prompt] = await prompts_of(asked, source)
            engine: Any = source.engine
            return JSONResponse({"input_tokens": len(engine.encode(prompt.text))})
        body = {name: asked.fields[name] for name in ("messages", "tools") if name in asked.fields}
        async with source.server.ask("/tokenize", {**body, "model": source.server.model}, seconds=COUNT_S) as response:
            if 400 <= response.status < 500 and response.status != 404:
                raise await refused(response)
            try:
                told = await response.json(content_type=None) if response.status == 200 else None
            except ValueError:
                told = None
        if not isinstance(told, dict) or not isinstance(told.get("count"), int):
            raise RequestRefused(404, "The upstream counts no tokens of messages.", code="no_route")
        return JSONResponse({"input_tokens": told["count"]})

    return answer


def _tags(gateway: "Gateway") -> Answer:
    """Make the route for Ollama's list of models."""

    async def answer(request: Request) -> Response:
        gateway.check_key(request)
        return JSONResponse(ollama.tags(gateway.model, gateway.since))

    return answer


def _show(gateway: "Gateway") -> Answer:
    """Make the route for what Ollama says of a model."""

    async def answer(request: Request) -> Response:
        gateway.check_key(request)
        row = await read_json(request, gateway.settings.limits.body)
        gateway.check_model(ollama.model_of(row))
        tools = gateway.sources.first.server is not None
        return JSONResponse(ollama.show(gateway.model, gateway.since, _length(gateway), tools=tools))

    return answer


def _version(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        return JSONResponse({"version": ollama.VERSION})

    return answer


def _embeddings(gateway: "Gateway") -> Answer:
    async def answer(request: Request) -> Response:
        client = gateway.check_key(request)
        row = await read_json(request, gateway.settings.limits.body)
        check_refused(row)
        return _passed(gateway, "/v1/embeddings", row, client)

    return answer


GETS = (
    Utility(path="/v1/models", summary="The model", answers=_models, refusals=(503, 401), needs_key=True),
    Utility(
        path="/v1/models/{id:path}", summary="One model", answers=_one_model, refusals=(503, 401, 404), needs_key=True
    ),
    Utility(path="/api/tags", summary="Ollama: the model", answers=_tags, refusals=(503, 401), needs_key=True),
    Utility(path="/api/version", summary="Ollama: the version of its interface", answers=_version),
    Utility(path="/healthz", summary="Whether the server runs", answers=_alive),
    Utility(path="/health", summary="Whether a request would find an engine", answers=_ready, refusals=(503,)),
    Utility(path="/readyz", summary="Whether a request would find an engine", answers=_ready, refusals=(503,)),
    Utility(path="/figures", summary="What the page shows", answers=_figures),
    Utility(path="/metrics", summary="Prometheus' form", answers=_metrics, media="text/plain"),
)
POSTS = (
    Utility(path="/api/show", summary="Ollama: what the model is and can do", answers=_show, needs_key=True),
    Utility(path="/tokenize", summary="The tokens of a prompt or of messages", answers=_tokenize, needs_key=True),
    Utility(path="/v1/embeddings", summary="Embeddings, by the upstream", answers=_embeddings, needs_key=True),
    Utility(
        path="/v1/messages/count_tokens",
        summary="Anthropic: the tokens of a prompt",
        answers=_count_tokens,
        needs_key=True,
    ),
)


def pass_path(gateway: "Gateway", path: str) -> Answer:
    """Return a route that the operator named: it goes to the upstream as it is, under the limits of a request."""

    async def answer(request: Request) -> Response:
        client = gateway.check_key(request)
        if request.method == "GET":
            await read_bytes(request, gateway.settings.limits.body)
            return _passed(gateway, path, None, client)
        row = await read_json(request, gateway.settings.limits.body)
        check_refused(row)
        return _passed(gateway, path, row, client)

    return answer


def _passed(gateway: "Gateway", path: str, row: dict[str, Any] | None, client: Any) -> Response:
    """A response copied from the first upstream that is there."""
    servers = [source for source in gateway.sources.in_turn() if source.server is not None]
    if not servers:
        raise RequestRefused(404, f"{path} is the upstream's, and this server runs a model itself.", code="no_route")

    async def work(writer: ResponseWriter) -> None:
        from satisfice.gateway.events import dumps
        from satisfice.gateway.failures import failure_of
        from satisfice.gateway.openai import error_of

        error: Exception = Unavailable("there is no upstream")
        try:
            with gateway.limiter.slot(client):
                for source in servers:
                    assert source.server is not None
                    try:
                        writer.headers["x-satisfice"] = dumps({"passed": path}).decode()
                        limit_s = gateway.settings.limits.passed_seconds
                        async with source.server.ask(path, row, seconds=limit_s) as response:
                            await copy(response, writer, lambda tokens: None)
                        return
                    except EngineError as fault:
                        source.failed(fault)
                        error = fault
                        if writer.started:
                            break
        except RequestRefused as refusal:
            error = refusal
        failure = failure_of(error)
        if not writer.started:
            writer.headers.update(failure.headers)
            await writer.whole(failure.status, error_of(failure))

    return WatchedResponse(work, {}, slow_s=gateway.settings.slow_s)

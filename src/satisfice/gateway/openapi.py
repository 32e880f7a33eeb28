"""The description of the interface, for people and for tools that test against it."""

from typing import Any

from pydantic.json_schema import models_json_schema

import satisfice
from satisfice.gateway.body import ChatBody, CompletionBody
from satisfice.gateway.settings import Settings

_ERROR = {"$ref": "#/components/schemas/Error"}
_REFUSALS = {
    400: "A field is unknown, wrong, or contradicts another",
    401: "No valid key",
    404: "No such model",
    408: "The client sent too slowly",
    413: "The body is too long",
    415: "The body is no JSON",
    429: "Too much at once, or in a minute",
    500: "An error of ours",
    502: "The upstream failed",
    503: "No engine is ready",
    504: "Out of time",
}


def describe(settings: Settings) -> dict[str, Any]:
    """OpenAPI 3.1."""
    _, bodies = models_json_schema(
        [(ChatBody, "validation"), (CompletionBody, "validation")], ref_template="#/components/schemas/{model}"
    )
    schemas = {**bodies["$defs"], "Error": _error_schema(), "Answer": _answer_schema()}
    secured: dict[str, Any] = {"security": [{"key": []}]} if settings.keys else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "satisfice", "version": satisfice.__version__},
        "paths": {
            "/v1/chat/completions": {"post": {**_post("Continue a conversation", "ChatBody"), **secured}},
            "/v1/completions": {"post": {**_post("Continue a text", "CompletionBody"), **secured}},
            "/v1/models": {"get": {**_get("The model", {"type": "object"}, 503, 401), **secured}},
            "/healthz": {"get": _get("Whether the server runs", {"type": "object"})},
            "/readyz": {"get": _get("Whether a request would find an engine", {"type": "object"}, 503)},
            "/figures": {"get": _get("What the page shows", {"type": "object"})},
            "/metrics": {"get": _get("Prometheus' form", {"type": "string"}, kind="text/plain")},
            "/": {"get": _get("The page", {"type": "string"}, kind="text/html")},
        },
        "components": {
            "schemas": schemas,
            **({"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if settings.keys else {}),
        },
    }


def _post(summary: str, body: str) -> dict[str, Any]:
    answer = {
        "application/json": {"schema": {"$ref": "#/components/schemas/Answer"}},
        "text/event-stream": {"schema": {"type": "string"}},
    }
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}},
        },
        "responses": {"200": {"description": "The answer", "content": answer}, **_refusals(*_REFUSALS)},
    }


def _get(summary: str, schema: dict[str, Any], *refusals: int, kind: str = "application/json") -> dict[str, Any]:
    told = {str(code): {"description": _REFUSALS[code], "content": {kind: {"schema": {}}}} for code in refusals}
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {kind: {"schema": schema}}}, **told},
    }


def _refusals(*codes: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _ERROR}}
    return {str(code): {"description": _REFUSALS[code], "content": content} for code in codes}


def _error_schema() -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    inner = {"type": "object", "required": ["message", "type"], "properties": {
        "message": {"type": "string"}, "type": {"type": "string"}, "param": text, "code": text,
    }}  # fmt: skip
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}


def _answer_schema() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    usage = {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"], "properties": {
        "prompt_tokens": count, "completion_tokens": count, "total_tokens": count,
    }}  # fmt: skip
    return {
        "type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {
            "id": {"type": "string"}, "object": {"enum": ["chat.completion", "text_completion"]}, "created": count,
            "model": {"type": "string"}, "choices": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            "usage": usage, "satisfice": {"type": "object"},
        },
    }  # fmt: skip

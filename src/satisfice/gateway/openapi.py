"""The description of the interface, for people and for tools that test against it."""

from typing import Any

from pydantic.json_schema import models_json_schema

import satisfice
from satisfice.gateway.protocols import ROUTES, Route, form_of
from satisfice.gateway.settings import Settings
from satisfice.gateway.utility import GETS, POSTS, Utility

_REFUSALS = {
    400: "A field is wrong, or contradicts another",
    401: "No valid key",
    404: "No such model",
    408: "The client sent too slowly",
    413: "The body is too long",
    415: "The body is no JSON",
    429: "Too much at once, or in a minute",
    500: "The gateway failed",
    502: "The upstream failed",
    503: "No engine is ready",
    504: "Out of time",
}


def describe(settings: Settings) -> dict[str, Any]:
    """Return the routes of the gateway as OpenAPI 3.1, from the tables that make them."""
    _, bodies = models_json_schema(
        [(route.body, "validation") for route in ROUTES], ref_template="#/components/schemas/{model}"
    )
    schemas = bodies["$defs"]
    secured: dict[str, Any] = {"security": [{"key": []}]} if settings.keys else {}
    paths: dict[str, Any] = {route.path: {"post": {**_post(route), **secured}} for route in ROUTES}
    for get in GETS:
        paths[get.path.replace(":path", "")] = {"get": {**_get(get), **(secured if get.needs_key else {})}}
    for post in POSTS:
        paths[post.path] = {"post": {**_passed_post(post.summary, post.path), **secured}}
    for path in settings.passed:
        paths[path] = {"post": {**_passed_post("The upstream's own route", path), **secured}}
    paths["/"] = {"get": _page()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "satisfice", "version": satisfice.__version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            **({"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if settings.keys else {}),
        },
    }


def _post(route: Route) -> dict[str, Any]:
    answer = {
        "application/json": {"schema": route.answer},
        form_of(route.path).stream.partition(";")[0]: {"schema": {"type": "string"}},
    }
    return {
        "summary": route.summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.body.__name__}"}}},
        },
        "responses": {"200": {"description": "The answer", "content": answer}, **_refusals(route.path)},
    }


def _passed_post(summary: str, path: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {"200": {"description": summary, "content": {"application/json": {"schema": {}}}},
                      **_refusals(path)},
    }  # fmt: skip


def _get(get: Utility) -> dict[str, Any]:
    content = {get.media: {"schema": {"type": "string" if get.media.startswith("text") else "object"}}}
    names = [part[1:-1].partition(":")[0] for part in get.path.split("/") if part.startswith("{")]
    parameters = [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for n in names
    ]
    answers = {str(code): {"description": _REFUSALS[code], "content": {get.media: {"schema": {}}}}
               for code in get.refusals}  # fmt: skip
    row = {"summary": get.summary, "responses": {"200": {"description": get.summary, "content": content}, **answers}}
    return {**row, "parameters": parameters} if parameters else row


def _page() -> dict[str, Any]:
    content = {"text/html": {"schema": {"type": "string"}}}
    return {"summary": "The page", "responses": {"200": {"description": "The page", "content": content}}}


def _refusals(path: str) -> dict[str, Any]:
    content = {"application/json": {"schema": form_of(path).failed}}
    told = {str(code): {"description": said, "content": content} for code, said in _REFUSALS.items()}
    return {**told, "4XX": {"description": "The model server refused the request", "content": content}}

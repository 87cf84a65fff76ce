"""The OpenAPI document: what ``/openapi.json`` says of the routes that read their bodies themselves.

Bodies are bounded before pydantic sees them (`strop.agent.server.body`), so FastAPI cannot know their form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from strop.agent.server import prompts, protocol
from strop.agent.server.prompts import AdapterName, CompletionRequest, NewAdapter
from strop.agent.server.protocol import ChatRequest

_REF = "#/components/schemas/{model}"
_ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUSES = {
    "400": "The body is wrong; `param` says where",
    "401": "The API key is missing or wrong",
    "404": "No such model or route",
    "405": "The route has another method",
    "413": "The body is too long",
    "429": "Too many requests at once",
    "503": "The engine cannot answer now",
    "504": "The request's time is over",
}


def _route(body: type[BaseModel], reply: str) -> dict[str, Any]:
    """Arguments for a route's decorator."""
    schema = {"$ref": _REF.format(model=body.__name__)}
    content = {"application/json": {"schema": {"type": "object"}}}
    if reply:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {"200": {"description": reply or "Done", "content": content}},
        }
    }


CHAT = _route(ChatRequest, "A chat.completion, or its chunks as server-sent events")
COMPLETIONS = _route(CompletionRequest, "A text_completion, or its chunks as server-sent events")
LOAD_ADAPTER = _route(NewAdapter, "")
UNLOAD_ADAPTER = _route(AdapterName, "")


def install(app: FastAPI) -> None:
    """Make `app` serve the whole document."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to replace it


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas: dict[str, Any] = {"Error": dict(_ERROR)}
    for kind in (ChatRequest, CompletionRequest, NewAdapter, AdapterName):
        schemas |= _schemas(kind)
    _close(schemas["ChatRequest"], protocol.NEUTRAL)
    _close(schemas["CompletionRequest"], prompts.NEUTRAL)
    made["components"] = {
        "schemas": schemas,
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    error = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    for path, methods in made["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            for status, why in _STATUSES.items():
                operation["responses"][status] = {"description": why, "content": error}
            if path.startswith("/v1/"):
                operation["security"] = [{}, {"key": []}]
    return made


def _schemas(kind: type[BaseModel]) -> dict[str, Any]:
    """The schema of a body, and those it refers to."""
    schema = kind.model_json_schema(ref_template=_REF)
    inner: dict[str, Any] = schema.pop("$defs", {})
    return {**inner, kind.__name__: schema}


def _close(schema: dict[str, Any], neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Name the fields that are taken without being read, and say that there are no others."""
    ignored: dict[str, Any] = {name: {} for name in sorted(protocol.IGNORED)}
    fixed = {name: {"enum": [None, *values]} for name, values in sorted(neutral.items())}
    schema["properties"] |= ignored | fixed
    schema["additionalProperties"] = False

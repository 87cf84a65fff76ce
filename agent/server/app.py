"""The server: OpenAI's chat completions over what is served.

    POST /v1/chat/completions     docs/server.md says which fields it reads, ignores and refuses
    GET  /v1/models               the one model
    GET  /health                  200 while the engine answers, else 503
    GET  /version                 of Strop and of the engine
    GET  /metrics                 see strop.agent.server.metrics

Only the routes under ``/v1`` ask for the API key. Not covered yet: forced calls (``required``, named, strict
tools), ``response_format``, several models behind one address, limits on requests in flight.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from strop.agent.server import errors
from strop.agent.server.answering import Answering, Settled
from strop.agent.server.body import read_object
from strop.agent.server.errors import ApiError
from strop.agent.server.metrics import CLIENT_LEFT, CONTENT_TYPE, Measured, Metrics
from strop.agent.server.protocol import question_of, read_request
from strop.agent.server.pulse import Pulse
from strop.agent.server.reply import Envelope, to_json
from strop.agent.server.responses import EventStream, until_disconnect
from strop.agent.server.served import Served

__all__ = ["Served", "create_app"]


def create_app(served: Served) -> FastAPI:
    """An app that answers with `served`. It starts and closes nothing: the engine belongs to the caller."""
    app = FastAPI(title="Strop", version=version("strop"), openapi_url=None)
    app.state.served = served
    metrics, pulse = Metrics(), Pulse(served.policy)
    app.include_router(_openai_routes(served, metrics, pulse))
    app.include_router(_own_routes(served, metrics, pulse))
    app.add_middleware(Measured, metrics=metrics)
    errors.install(app)
    return app


def _openai_routes(served: Served, metrics: Metrics, pulse: Pulse) -> APIRouter:
    def authorized(request: Request) -> None:
        _check_key(request, served.api_key)

    routes = APIRouter(prefix="/v1", dependencies=[Depends(authorized)])

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_card(served)]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        _check_model(name, served)
        return _model_card(served)

    @routes.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await _chat(request, served, metrics, pulse)

    return routes


def _own_routes(served: Served, metrics: Metrics, pulse: Pulse) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> JSONResponse:
        if failure := await pulse.check():
            raise ApiError(503, f"the engine does not answer: {failure}", code="engine_error")
        return JSONResponse({"status": "ok"})

    @routes.get("/version")
    async def versions() -> dict[str, str]:
        info = served.policy.engine.info
        return {"version": version("strop"), "engine": info.kind, "engine_detail": info.detail}

    @routes.get("/metrics")
    async def page() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    return routes


async def _chat(request: Request, served: Served, metrics: Metrics, pulse: Pulse) -> Response:
    try:
        body = read_request(await read_object(request, served.max_body_bytes))
    except ClientDisconnect:
        return Response(status_code=CLIENT_LEFT)
    if body.model is not None:
        _check_model(body.model, served)
    question = question_of(body, served.sampling, served.refine)
    envelope = Envelope(question.task.id, served.model, int(time.time()))
    answering = Answering(served, question, envelope)

    def count(settled: Settled) -> None:
        metrics.answered(settled.choices, settled.usage)

    if question.stream:
        return EventStream(_watched(answering.events(count), pulse), metrics.stream_errors.inc)
    with pulse.watching():
        settled = await until_disconnect(request.receive, answering.settle())
    if settled is None:
        return Response(status_code=CLIENT_LEFT)
    count(settled)
    reply = envelope.completion(settled.choices, settled.usage)
    return Response(to_json(reply), media_type="application/json")


async def _watched(events: AsyncGenerator[bytes], pulse: Pulse) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        with pulse.watching():
            async for event in events:
                yield event


def _check_key(request: Request, key: str | None) -> None:
    """Raise 401 unless the request carries `key`; comparing takes as long whatever was sent."""
    sent = request.headers.get("authorization", "")
    if key is not None and not hmac.compare_digest(sent.encode("latin-1"), f"Bearer {key}".encode()):
        what = "is not the one this server was started with" if sent else "is missing"
        raise ApiError(401, f"the API key {what} (Authorization: Bearer KEY)", code="invalid_api_key")


def _check_model(name: str, served: Served) -> None:
    if name != served.model:
        message = f"no model {name[:200]!r} here; this server has {served.model!r}"
        raise ApiError(404, message, param="model", code="model_not_found")


def _model_card(served: Served) -> dict[str, Any]:
    length = served.policy.engine.info.context_length
    card = {"id": served.model, "object": "model", "created": served.created, "owned_by": "strop"}
    return card | {"max_model_len": length}

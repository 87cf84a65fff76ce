"""The server: OpenAI's chat completions over what is served.

    POST /v1/chat/completions     docs/server.md says which fields it reads, ignores and refuses
    POST /v1/completions          text or token ids, continued as they are
    GET  /v1/models               the model, and the adapters loaded beside it
    POST /v1/load_lora_adapter, /v1/unload_lora_adapter   as in vLLM, where the server was started so
    GET  /health                  200 while requests succeed, or the engine answers a probe; else 503
    GET  /ready                   200 while new requests are taken, else 503
    GET  /version                 of Strop and of the engine
    GET  /metrics                 see strop.agent.server.metrics
    GET  /openapi.json            all of this, for programs

Only the routes under ``/v1`` ask for the API key.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from strop.agent.server import document, errors
from strop.agent.server.answering import Answering, Settled
from strop.agent.server.body import read_object
from strop.agent.server.completing import Completing
from strop.agent.server.errors import ApiError, refused
from strop.agent.server.guard import Gatekeeper, Guard
from strop.agent.server.metrics import CLIENT_LEFT, CONTENT_TYPE, Measured, Metrics
from strop.agent.server.prompts import AdapterName, NewAdapter, read_completion
from strop.agent.server.protocol import Defaults, question_of, read_body, read_request, refine_of_header
from strop.agent.server.pulse import Pulse
from strop.agent.server.reply import Envelope, to_json
from strop.agent.server.responses import EventStream, until_disconnect
from strop.agent.server.served import Served

__all__ = ["Served", "create_app"]

T = TypeVar("T")

REFINE_HEADER = "x-strop-refine"
"""``off``, ``adaptive`` or a number of rounds, for clients that cannot add to the body."""


def create_app(served: Served) -> FastAPI:
    """An app that answers with `served`. It starts and closes nothing: the engine belongs to the caller."""
    app = FastAPI(title="Strop", version=version("strop"), docs_url=None, redoc_url=None)
    app.state.served = served
    metrics, pulse = Metrics(), Pulse(served.first.policy)
    keeper = Gatekeeper(served.limits, served.first.policy.engine, origins=served.cors_origins)
    app.include_router(_openai_routes(served, metrics, pulse))
    app.include_router(_own_routes(served, metrics, pulse, keeper))
    app.state.keeper = keeper
    app.add_middleware(Guard, keeper=keeper, on_late=pulse.doubt, on_broken=metrics.stream_errors.inc)
    if served.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=served.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Measured, metrics=metrics)
    errors.install(app)
    document.install(app)
    return app


def _openai_routes(served: Served, metrics: Metrics, pulse: Pulse) -> APIRouter:
    def authorized(request: Request) -> None:
        _check_key(request, served.api_keys)

    routes = APIRouter(prefix="/v1", dependencies=[Depends(authorized)])

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model.card for model in served.models.models]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return served.models.find(name)[0].card

    @routes.post("/chat/completions", **document.CHAT)
    async def chat_completions(request: Request) -> Response:
        return await _chat(request, served, metrics, pulse)

    @routes.post("/completions", **document.COMPLETIONS)
    async def completions(request: Request) -> Response:
        return await _complete(request, served, metrics, pulse)

    if served.hot_adapters:
        _add_adapter_routes(routes, served)
    return routes


def _add_adapter_routes(routes: APIRouter, served: Served) -> None:
    @routes.post("/load_lora_adapter", **document.LOAD_ADAPTER)
    async def load(request: Request) -> JSONResponse:
        wanted = read_body(NewAdapter, await read_object(request, served.max_body_bytes))
        await served.models.load(wanted.lora_name, _directory(wanted.lora_path))
        return JSONResponse({"status": "ok"})

    @routes.post("/unload_lora_adapter", **document.UNLOAD_ADAPTER)
    async def unload(request: Request) -> JSONResponse:
        wanted = read_body(AdapterName, await read_object(request, served.max_body_bytes))
        await served.models.unload(wanted.lora_name)
        return JSONResponse({"status": "ok"})


def _directory(text: str) -> Path:
    """Raises ApiError 400 where there is none."""
    try:
        if Path(text).is_dir():
            return Path(text)
    except (OSError, ValueError):  # longer than a path may be, or with a null byte
        pass
    raise refused(f"lora_path: no directory at {text[:200]!r}", "lora_path")


def _own_routes(served: Served, metrics: Metrics, pulse: Pulse, keeper: Gatekeeper) -> APIRouter:
    routes = APIRouter()

    async def probe() -> None:
        if failure := await pulse.check():
            raise ApiError(503, f"the engine does not answer: {failure}", code="engine_error")

    @routes.get("/health")
    async def health() -> JSONResponse:
        await probe()
        return JSONResponse({"status": "ok"})

    @routes.get("/ready")
    async def ready() -> JSONResponse:
        if (refusal := keeper.refusal()) is not None:
            raise ApiError(503, str(refusal), code=refusal.code)
        await probe()
        return JSONResponse({"status": "ready"})

    @routes.get("/version")
    async def versions() -> dict[str, str]:
        info = served.first.policy.engine.info
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
    model, named = served.models.find(body.model)
    policy = model.policy
    wanted = refine_of_header(request.headers.get(REFINE_HEADER)) or named or served.refine
    defaults = Defaults(
        served.sampling, wanted, policy.template.call_format, structures=policy.engine.info.structures
    )
    question = question_of(body, defaults)
    envelope = Envelope(question.task.id, model.model, int(time.time()))
    answering = Answering(model, question, envelope, served.keep_alive)

    def count(settled: Settled) -> None:
        metrics.answered(settled.choices, settled.usage, settled.check_usage)

    if question.stream:
        return _stream(answering.events(count), metrics, pulse)
    settled = await _watched(request, answering.settle(), pulse)
    if settled is None:
        return Response(status_code=CLIENT_LEFT)
    count(settled)
    reply = envelope.completion(settled.choices, settled.usage, settled.check_usage)
    return Response(to_json(reply), media_type="application/json")


async def _complete(request: Request, served: Served, metrics: Metrics, pulse: Pulse) -> Response:
    try:
        body = read_completion(await read_object(request, served.max_body_bytes))
    except ClientDisconnect:
        return Response(status_code=CLIENT_LEFT)
    model, _ = served.models.find(body.model)
    completing = Completing(model, body, served.sampling)
    if body.stream:
        return _stream(completing.events(metrics.spent), metrics, pulse)
    done = await _watched(request, completing.settle(), pulse)
    if done is None:
        return Response(status_code=CLIENT_LEFT)
    reply, usage = done
    metrics.spent(usage)
    return Response(to_json(reply), media_type="application/json")


def _stream(events: AsyncGenerator[bytes], metrics: Metrics, pulse: Pulse) -> EventStream:
    async def watched() -> AsyncGenerator[bytes]:
        async with aclosing(events):
            with pulse.watching():
                async for event in events:
                    yield event

    return EventStream(watched(), metrics.stream_errors.inc)


async def _watched(request: Request, work: Coroutine[Any, Any, T], pulse: Pulse) -> T | None:
    async def watched() -> T:
        with pulse.watching():
            return await work

    return await until_disconnect(request.receive, watched())


def _check_key(request: Request, keys: Sequence[str]) -> None:
    """Raise 401 unless the request carries one of `keys`; comparing takes as long whatever was sent."""
    sent = request.headers.get("authorization", "")
    fits = [hmac.compare_digest(sent.encode("latin-1"), f"Bearer {key}".encode()) for key in keys]
    if keys and not any(fits):
        what = "is not one this server was started with" if sent else "is missing"
        raise ApiError(401, f"the API key {what} (Authorization: Bearer KEY)", code="invalid_api_key")

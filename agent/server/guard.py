"""What bounds requests: how many at once, how long each, and how long a client may take to read.

One ASGI layer around every POST, so that no route can forget it; what is only asked for always comes in. A
web page is refused (403) unless its origin is named: a browser sends what needs no permission of ours, and
only keeps the answer from the page. A request over the limit is refused at once (429), one whose time is over
is cancelled and answered (504, or a last event where a stream has begun), and a client that stops reading is
cut off. Cancelling reaches the engine, which frees the slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strop.agent.engines.base import Engine
from strop.agent.server.errors import ApiError
from strop.agent.server.reply import to_json


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on requests; seconds are of wall time."""

    requests: int = 1024
    """Most of them at once; the engine queues what it cannot compute together."""
    seconds: float = 600.0
    """From the first byte of the body to the last byte of the answer."""
    write_seconds: float = 30.0
    """For the client to take a piece of the answer off the connection's buffer."""


class SlowReaderError(ConnectionError):
    """The client does not read what it asked for."""


@dataclass(slots=True)
class Gatekeeper:
    """Who may come in."""

    limits: Limits
    engine: Engine
    """Its `Engine.trouble` is asked before every request."""
    draining: bool = False
    """Whether the server is on its way out: it finishes what it has."""
    origins: Collection[str] = ()
    """Those of web pages that may send requests, ``*`` for any."""
    active: int = field(default=0, init=False)
    """Requests inside."""

    def foreign(self, headers: Headers) -> ApiError | None:
        """Why a request with these headers may never come in: it is a web page's. There are none of ours."""
        origin = headers.get("origin")  # browsers say it with every POST, other clients hardly ever
        if origin is None or "*" in self.origins or origin in self.origins:
            return None
        message = f"web pages of {origin[:200]} may not send requests here (--cors-origin)"
        return ApiError(403, message, code="origin_refused")

    def refusal(self) -> ApiError | None:
        """Why the next request may not come in."""
        if self.draining:
            return ApiError(503, "the server is shutting down", code="shutting_down")
        if self.active >= self.limits.requests:
            message = f"{self.active} requests are being answered already; try again"
            return ApiError(429, message, code="rate_limit_exceeded")
        if (why := self.engine.trouble) is not None:
            return ApiError(503, why, code="engine_error")
        return None


class Guard:
    """ASGI middleware; see the module."""

    def __init__(
        self, app: ASGIApp, keeper: Gatekeeper, on_late: Callable[[str], None], on_broken: Callable[[], None]
    ):
        """`on_late` is told of every request whose time is over; `on_broken` is called where that ends a
        stream."""
        self._app = app
        self._keeper = keeper
        self._on_late = on_late
        self._on_broken = on_broken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        keeper = self._keeper
        if (refusal := keeper.foreign(Headers(scope=scope)) or keeper.refusal()) is not None:
            await refusal.response()(scope, receive, send)
            return
        keeper.active += 1
        try:
            await self._bounded(scope, receive, _Outlet(send, keeper.limits.write_seconds))
        finally:
            keeper.active -= 1

    async def _bounded(self, scope: Scope, receive: Receive, outlet: _Outlet) -> None:
        seconds = self._keeper.limits.seconds
        try:
            async with asyncio.timeout(seconds):
                await self._app(scope, receive, outlet)
        except TimeoutError:
            error = ApiError(504, f"no answer within {seconds:g} s", code="timeout")
            self._on_late(str(error))
            if not outlet.begun:
                await error.response()(scope, receive, outlet)
            elif not outlet.ended:
                self._on_broken()
                event = b"data: " + to_json(error.body) + b"\n\n"
                await outlet({"type": "http.response.body", "body": event, "more_body": False})


class _Outlet:
    """`send` that waits only so long, and knows how far the answer is."""

    def __init__(self, send: Send, seconds: float):
        self._send = send
        self._seconds = seconds
        self.begun = False
        self.ended = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError as error:
            raise SlowReaderError(f"nothing was read for {self._seconds:g} s") from error

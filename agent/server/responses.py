"""Replies that notice when their client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from strop.agent.server.errors import ApiError, of_strop
from strop.agent.server.reply import to_json
from strop.tools.errors import StropError

T = TypeVar("T")


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns, or None where the client leaves first; `work` is cancelled then.

    To be called once the request's body has been read.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        gone.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events. An error before the first is an ordinary reply, later it is the last event."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], on_broken: Callable[[], None]):
        """`on_broken` is called where the stream ends with an error event."""
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._on_broken = on_broken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            await until_disconnect(receive, self._respond(scope, receive, send))

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            first = await anext(self._events)
        except (ApiError, StropError) as error:
            await _api_error(error).response()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._send_body(first, send)
        await send({"type": "http.response.body", "body": b""})

    async def _send_body(self, first: bytes, send: Send) -> None:
        await send({"type": "http.response.body", "body": first, "more_body": True})
        try:
            async for event in self._events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        except (ApiError, StropError) as error:
            self._on_broken()
            event = b"data: " + to_json(_api_error(error).body) + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})


def _api_error(error: ApiError | StropError) -> ApiError:
    return error if isinstance(error, ApiError) else of_strop(error)

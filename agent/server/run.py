"""Running an app: on an address until a signal, or beside something else in the same event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.text import Text

from strop.agent.server.served import Served
from strop.tools.errors import EngineError, UsageError

DRAIN_SECONDS = 30
"""Requests that are still running this long after a signal are cancelled."""
MOST_HEADER_BYTES = 64 * 1024
"""Longer request lines and headers are refused with 400 before anything of them is looked at."""
_TICK = 0.01


class _Server(uvicorn.Server):
    """uvicorn, leaving signals to whoever runs it: it would raise them again before the engine is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises UsageError for an address that is none, EngineError for one that cannot be had. To be taken before
    an engine is started, which is slow, for a port that is in use.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"cannot listen on {host}:{port}: --port goes from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error} (choose another --host)") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise EngineError(
            f"cannot listen on {host}:{port}: {reason} (choose another address with --port or --host)"
        ) from error
    listening.setblocking(False)
    return listening


def url_of(listening: socket.socket) -> str:
    """Where clients on this machine reach it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def _server(app: FastAPI) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            http="h11",  # the one whose header size can be bounded
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )


async def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then let requests finish; a second signal cuts them off.

    To be called in the main thread. Returns normally after a signal, so that the caller can clean up.
    """
    server = _server(app)

    def leave() -> None:
        app.state.keeper.draining = True
        if not server.should_exit:
            running = len(server.server_state.tasks)
            told = f"Leaving once what is running ({running}) has ended; once more cuts it off."
            Console(stderr=True).print(told if running else "Leaving.", highlight=False)
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    handled = (signal.SIGINT, signal.SIGTERM)
    for number in handled:
        loop.add_signal_handler(number, leave)
    try:
        await server.serve(sockets=[listening])
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def run_server(app: FastAPI, listening: socket.socket) -> None:
    """`strop serve`: say where the server is, then `serve`. `app` is one of `create_app`'s."""
    announce(app.state.served, url_of(listening))
    await serve(app, listening)


def announce(served: Served, url: str) -> None:
    """Print, to stderr, where the server is and a request to try."""
    key = "" if not served.api_keys else ' \\\n  -H "Authorization: Bearer $STROP_API_KEY"'

    console = Console(stderr=True)
    console.print(
        Text.assemble(
            ("Ready", "bold green"), f": {served.first.model} at {url}/v1, refinement {served.refine}."
        )
    )
    console.print(
        Text(f"Try it:\n\n{_EXAMPLE.format(url=url, key=key, model=served.first.model)}\n"), soft_wrap=True
    )


_EXAMPLE = """curl {url}/v1/chat/completions -H "Content-Type: application/json"{key} -d '{{
  "model": "{model}",
  "messages": [{{"role": "user", "content": "What is the weather in Oslo?"}}],
  "tools": [{{"type": "function", "function": {{
    "name": "get_weather", "description": "Current weather in a city",
    "parameters": {{"type": "object", "required": ["city"], "properties": {{"city": {{"type": "string"}}}}}}
  }}}}]
}}'"""


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[str]:
    """Serve on a free port of 127.0.0.1 while the block runs; yields the base URL, without ``/v1``.

    Touches no signal handler. Raises EngineError where the server does not start.
    """
    listening = bind("127.0.0.1", 0)
    url, server = url_of(listening), _server(app)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            if task.done():
                raise EngineError(f"the server did not start on {url}") from task.exception()
            await asyncio.sleep(_TICK)
        yield url
    finally:
        server.should_exit = True
        await task
        listening.close()

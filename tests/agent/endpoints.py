"""A real HTTP server on this machine that answers chat requests as it is told, and who asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from strop.agent.answer import Answer
from strop.agent.engines.base import Sampling
from strop.agent.remote import RemoteChat
from strop.tools.spec import ToolSpec
from strop.tools.task import Task

TOOL = ToolSpec("weather.get", "Weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
TASK = Task("t", ({"role": "user", "content": "Rain in Köln?"},), (TOOL,))


@dataclass(frozen=True, slots=True)
class Says:
    """One response of the scripted server."""

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    """Bytes left off the end of what was announced."""
    after: int = 0
    """Held back until so many requests have come."""


@dataclass(slots=True)
class Endpoint:
    """A server that gives its responses in order, the last one for ever."""

    says: list[Says]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def serving(*says: Says) -> Iterator[Endpoint]:
    endpoint = Endpoint(list(says))
    coming = threading.Condition()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            endpoint.bodies.append(json.loads(self.rfile.read(length)))
            endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
            endpoint.paths.append(self.path)
            one = endpoint.says.pop(0) if len(endpoint.says) > 1 else endpoint.says[0]
            with coming:
                coming.notify_all()
                coming.wait_for(lambda: len(endpoint.bodies) >= one.after, timeout=60)
            data = one.body.encode() if isinstance(one.body, str) else one.body
            self.send_response(one.status)
            for name, value in one.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) - one.cut])

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(message: dict[str, Any], finish: str = "stop", **extra: Any) -> Says:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **extra}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    return Says(json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}))


def native(name: str, arguments: Any) -> Says:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return completion({"content": None, "tool_calls": [call]}, "tool_calls")


RAIN = native("weather.get", '{"city": "Köln"}')


async def ask(endpoint: Endpoint, sampling: Sampling | None = None, **options: Any) -> Answer:
    async with RemoteChat(endpoint.url, "m", backoff=0.01, **options) as remote:
        return await remote.answer(TASK, sampling or Sampling(max_tokens=9))

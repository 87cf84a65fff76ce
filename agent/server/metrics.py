"""What ``/metrics`` shows, in a registry of each app's own.

strop_requests_total{route, status}      answered requests; 499: the client left before its answer;
                                         500: there was none, for a bug
strop_request_seconds{route}             from the first byte read to the last byte sent
strop_requests_in_flight                 being answered now
vllm:*                                   what vLLM counts itself: its queue, its prefix cache, its latencies
strop_tokens_total{kind}                 prompt, cached (of the prompt) and completion, drafts included
strop_refinement_rounds_total            check turns asked
strop_answers_total{stop_reason}         choices, by why their refinement stopped (off: there was none)
strop_first_token_seconds                from the first byte read to the first event of a streamed answer
strop_check_tokens_total{kind}           of the tokens, what check turns cost: prompt, cached, completion
strop_stream_errors_total                streams that broke after their status was sent
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strop.agent.answer import NOTHING, Usage
from strop.agent.server.reply import Choice

CONTENT_TYPE = CONTENT_TYPE_LATEST
CLIENT_LEFT = 499
"""nginx's word for a request whose client closed the connection; never seen by a client."""

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("strop_requests", "Answered requests", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "strop_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=own
        )
        self.in_flight = Gauge("strop_requests_in_flight", "Requests being answered", registry=own)
        self.tokens = Counter("strop_tokens", "Tokens", ["kind"], registry=own)
        self.rounds = Counter("strop_refinement_rounds", "Check turns asked", registry=own)
        self.answers = Counter("strop_answers", "Choices by stop reason", ["stop_reason"], registry=own)
        self.first_token = Histogram(
            "strop_first_token_seconds", "Time to the first event of a stream", buckets=_SECONDS, registry=own
        )
        self.checks = Counter("strop_check_tokens", "Tokens of check turns", ["kind"], registry=own)
        self.stream_errors = Counter("strop_stream_errors", "Streams broken by an error", registry=own)

    def answered(self, choices: Sequence[Choice], usage: Usage, checks: Usage = NOTHING) -> None:
        """Count one request's answers and what they cost, `checks` being part of `usage`."""
        self.spent(usage)
        self._count(self.checks, checks)
        for choice in choices:
            self.rounds.inc(choice.rounds)
            self.answers.labels(choice.stop_reason.value).inc()

    def spent(self, usage: Usage) -> None:
        """Count tokens."""
        self._count(self.tokens, usage)

    def _count(self, counter: Counter, usage: Usage) -> None:
        counter.labels("prompt").inc(usage.prompt_tokens)
        counter.labels("cached").inc(usage.cached_tokens)
        counter.labels("completion").inc(usage.completion_tokens)

    def page(self) -> bytes:
        """The text that Prometheus reads: these, and what vLLM counts in this process."""
        return generate_latest(self.registry) + generate_latest(REGISTRY)


class Measured:
    """ASGI middleware: counts and times every request, streams to their end."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, streams, began = CLIENT_LEFT, False, time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status, streams
            body = message.get("body", b"")
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
            elif streams and body and not body.startswith(b":"):  # a comment is no event
                self._metrics.first_token.observe(time.perf_counter() - began)
                streams = False
            await send(message)

        try:
            with self._metrics.in_flight.track_inprogress():
                await self._app(scope, receive, observed)
        except Exception:  # a departure is a cancellation, which is none; here it is only counted
            status = 500 if status == CLIENT_LEFT else status  # once one is sent, that is what was answered
            raise
        finally:
            route = _route_of(scope)
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)


def _route_of(scope: Scope) -> str:
    """The path of the route that a request came to, or would have, had it been let in."""
    if "route" in scope:
        return getattr(scope["route"], "path", "other")
    fitting = (route for route in scope["app"].routes if route.matches(scope)[0] is Match.FULL)
    return getattr(next(fitting, None), "path", "other")

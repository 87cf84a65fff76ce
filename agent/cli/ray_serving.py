"""The same server in Ray Serve: copies of it, each with an engine, behind Ray's own proxy.

Ray balances between the copies and starts dead ones again. A conversation may reach another copy at its next
turn; the check turns of one answer never leave theirs.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from strop.agent.cli.serving import ServeSettings, serving
from strop.tools.errors import UsageError

APP_NAME = "strop"


def strop_app(settings: ServeSettings, *, replicas: int = 1, gpus: float = 0, cpus: float = 1) -> Any:
    """A Ray Serve application, for ``serve.run``; `gpus` and `cpus` are each copy's."""
    from ray import serve

    @serve.deployment(
        num_replicas=replicas,
        ray_actor_options={"num_gpus": gpus, "num_cpus": cpus},
        max_ongoing_requests=settings.limits.requests,
    )
    @serve.ingress()
    class Strop:
        async def __init__(self, settings: ServeSettings) -> None:  # type: ignore[misc]  # Ray awaits it
            from strop.agent.server.app import create_app

            self._open = serving(settings)
            self._app = create_app(await self._open.__aenter__())

        def __serve_build_asgi_app__(self) -> Any:
            return self._app

        async def __del__(self) -> None:
            await self._open.__aexit__(None, None, None)

    return Strop.bind(settings)  # type: ignore[attr-defined]  # the decorator made it a deployment


def run_ray_serve(settings: ServeSettings, host: str, port: int, replicas: int) -> None:
    """Serve until a signal, on the Ray cluster of ``$RAY_ADDRESS`` or a local one.

    Raises UsageError where Ray is not installed.
    """
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise UsageError(f"Ray Serve is not installed ({error}): pip install 'strop[ray]'") from error
    serve.start(http_options={"host": host, "port": port})
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    app = strop_app(settings, replicas=replicas, gpus=settings.source.gpus if has_gpus else 0)
    serve.run(app, name=APP_NAME, route_prefix="/")
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    done.wait()
    serve.shutdown()

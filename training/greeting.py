"""The first request of a run: a question that wants a tool, sent over HTTP as any client would.

Like the README's ``curl``, it proves the chain from socket to engine before hours are spent on it.
"""

from __future__ import annotations

from typing import Any

import httpx

from strop.agent.loading import Loaded
from strop.agent.server.app import create_app
from strop.agent.server.roster import Roster, ServedModel
from strop.agent.server.run import running
from strop.agent.server.served import Served
from strop.refine.choice import answerer_for
from strop.tools.errors import EngineError

QUESTION = "What's the weather in Oslo right now, in celsius?"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city."},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}


async def greet(loaded: Loaded) -> dict[str, Any]:
    """Serve the policy on a free port, ask once, and return ``{"request", "reply", "seconds"}``.

    Raises EngineError where the server answers with anything but success, or not at all.
    """
    first = ServedModel(loaded.policy, lambda wanted: answerer_for(loaded.policy, loaded.profile, wanted))
    served = Served(Roster(first))
    request = {
        "model": first.model,
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [TOOL],
        "max_tokens": 200,
    }
    # Whatever proxy the environment names, it is not between this process and itself.
    async with running(create_app(served)) as url, httpx.AsyncClient(timeout=300, trust_env=False) as client:
        try:
            reply = await client.post(f"{url}/v1/chat/completions", json=request)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise EngineError(f"the server did not answer its first request: {reason}") from error
    if reply.status_code != 200:
        raise EngineError(
            f"the server answered its first request with {reply.status_code}: {reply.text[:200]}"
        )
    return {"request": request, "reply": reply.json(), "seconds": round(reply.elapsed.total_seconds(), 2)}

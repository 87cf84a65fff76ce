"""Many bad clients at once, and a killed engine: what `strop serve` does about it, counted.

    python benchmarks/faults.py [MODEL] [--clients 500] [--seed 0]

Starts the real server on the real model and sends it `clients` clients at the same time, drawn at random:
well-behaved ones, streamed or not; ones that leave before the answer or in the middle of it; ones that send
what is no JSON, too long, too deep or with numbers beyond all range; ones with a wrong key; ones that stop
reading. Every good client forces a call of a tool that only it has, so an answer with another's data shows.
Then the engine's process is killed under the same load, and again asked once the server says it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.paths.served import Server, engine_processes, strop_serve

KEY, SECONDS, AT_ONCE = "a-secret", 300, 400
CHAT = "/v1/chat/completions"


def body(index: int, **fields: Any) -> dict[str, Any]:
    """A request that only the tool ``f_<index>`` can answer."""
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return {
        "messages": [{"role": "user", "content": f"Call f_{index} with n={index}."}],
        "tools": [{"type": "function", "function": {"name": f"f_{index}", "parameters": parameters}}],
        "tool_choice": {"type": "function", "function": {"name": f"f_{index}"}},
        "max_tokens": 48,
        **fields,
    }


async def good(http: httpx.AsyncClient, index: int) -> str:
    reply = await http.post(CHAT, json=body(index))
    if not reply.is_success:
        return told(reply)
    return whose(index, names_in(reply))


async def refined(http: httpx.AsyncClient, index: int) -> str:
    reply = await http.post(CHAT, json=body(index, strop={"refine": "adaptive"}))
    if not reply.is_success:
        return told(reply)
    return whose(index, names_in(reply))


async def streamed(http: httpx.AsyncClient, index: int) -> str:
    names = []
    async with http.stream("POST", CHAT, json=body(index, stream=True)) as reply:
        if not reply.is_success:
            await reply.aread()
            return told(reply)
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    return f"error event: {event['error']['code']}"
                for part in event["choices"][0]["delta"].get("tool_calls", ()):
                    names += [part["function"]["name"]] if part["function"].get("name") else []
    return whose(index, names)


async def leaves_early(http: httpx.AsyncClient, index: int) -> str:
    try:
        await http.post(CHAT, json=body(index), timeout=random.Random(index).uniform(0.05, 2))
    except httpx.TimeoutException:
        return "left"
    return "answered before it left"


async def leaves_a_stream(http: httpx.AsyncClient, index: int) -> str:
    async with http.stream("POST", CHAT, json=body(index, stream=True)) as reply:
        if not reply.is_success:
            await reply.aread()
            return told(reply)
        async for _ in reply.aiter_bytes():
            return "left"
    return "left"


async def malformed(http: httpx.AsyncClient, index: int) -> str:
    texts = (
        '{"messages": ',
        "[]",
        '{"messages": [' + "[" * 5000,
        '{"n": 1e999, "messages": []}',
        "\xff" * 50,
    )
    return told(await http.post(CHAT, content=texts[index % len(texts)].encode("latin-1")))


async def oversized(http: httpx.AsyncClient, _: int) -> str:
    try:
        return told(await http.post(CHAT, content=b" " * (9 * 2**20)))
    except httpx.WriteError:  # refused while it was still sending
        return "413, not read to its end"


async def wrong_key(http: httpx.AsyncClient, index: int) -> str:
    return told(await http.post(CHAT, json=body(index), headers={"Authorization": "Bearer wrong"}))


async def does_not_read(http: httpx.AsyncClient, index: int) -> str:
    url = http.base_url
    _, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
    data = json.dumps(body(index, stream=True)).encode()
    lines = [
        f"POST {CHAT} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {KEY}",
        f"Content-Length: {len(data)}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + data)
    await asyncio.sleep(20)
    writer.close()
    return "left without reading"


KINDS: tuple[tuple[Callable[[httpx.AsyncClient, int], Awaitable[str]], int], ...] = (
    (good, 25), (refined, 8), (streamed, 25), (leaves_early, 12), (leaves_a_stream, 10),
    (malformed, 8), (oversized, 4), (wrong_key, 4), (does_not_read, 4),
)  # fmt: skip


def names_in(reply: httpx.Response) -> list[str]:
    message = reply.json()["choices"][0]["message"]
    return [call["function"]["name"] for call in message["tool_calls"]]


def told(reply: httpx.Response) -> str:
    retry = " with Retry-After" if "retry-after" in reply.headers else ""
    return f"{reply.status_code}{retry}"


def whose(index: int, names: list[str]) -> str:
    if names == [f"f_{index}"]:
        return "its own answer"
    return "ANOTHER'S ANSWER" if names else "no call"


async def wave(url: str, clients: int, rng: random.Random) -> tuple[Counter[tuple[str, str]], float]:
    """(outcomes by kind, longest time) of so many clients at once."""
    outcomes: Counter[tuple[str, str]] = Counter()
    longest = 0.0
    functions, weights = zip(*KINDS, strict=True)

    async def one(index: int) -> None:
        nonlocal longest
        kind = rng.choices(functions, weights)[0]
        began = time.monotonic()
        try:
            outcome = await kind(http, index)
        except httpx.HTTPError as error:
            outcome = f"connection: {type(error).__name__}"
        longest = max(longest, time.monotonic() - began)
        outcomes[kind.__name__, outcome] += 1

    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, timeout=SECONDS + 60, limits=limits, headers=headers) as http:
        await asyncio.gather(*(one(rng.randrange(10**9)) for _ in range(clients)))
    return outcomes, longest


def memory(pid: int) -> float:
    """MiB that the server's own process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-0.5b")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    flags = ("--request-timeout", str(SECONDS), "--max-requests", str(AT_ONCE))
    rng = random.Random(options.seed)
    with strop_serve(options.model, *flags, key=KEY) as server:
        await wave(server.url, 40, rng)  # what is loaded lazily is loaded now
        before = memory(server.process.pid)
        for turn in range(2):
            outcome = await wave(server.url, options.clients, rng)
            show(f"{options.clients} clients at once, turn {turn + 1}", *outcome)
            await settled(server)
            report_memory(server, before)
        await killed(server, options.clients // 5, rng)
        show("after the restart", *await wave(server.url, options.clients // 5, rng))
        await settled(server)
        report_memory(server, before)


def report_memory(server: Server, before: float) -> None:
    more = memory(server.process.pid) - before
    print(f"   memory {more:+.0f} MiB over {before:.0f}; nothing in flight")


async def settled(server: Server) -> None:
    """Wait until nothing is in flight, in the server and in the engine."""
    end = time.monotonic() + 60
    # Asking for the metrics is in flight itself.
    names = {"strop_requests_in_flight": 1, "vllm:num_requests_running": 0, "vllm:num_requests_waiting{": 0}
    while any(metric(server.url, name) > own for name, own in names.items()):
        if time.monotonic() > end:
            sys.exit(f"still in flight: {[(name, metric(server.url, name)) for name in names]}")
        await asyncio.sleep(1)


async def killed(server: Server, clients: int, rng: random.Random) -> None:
    load = asyncio.ensure_future(wave(server.url, clients, rng))
    await asyncio.sleep(4)
    for pid in engine_processes(server.process.pid):
        os.kill(pid, signal.SIGKILL)
    show(f"{clients} clients, the engine killed under them", *await load)
    began = time.monotonic()
    statuses: Counter[int] = Counter()
    while (status := httpx.get(f"{server.url}/ready", timeout=30).status_code) != 200:
        statuses[status] += 1
        if time.monotonic() - began > 300:
            sys.exit("the engine was not started again")
        await asyncio.sleep(1)
    waited = time.monotonic() - began
    print(f"   /ready said {dict(statuses)} and then 200, {waited:.0f} s after the last answer")


def show(title: str, outcomes: Counter[tuple[str, str]], longest: float) -> None:
    print(f"{title}; the longest took {longest:.0f} s (deadline {SECONDS})")
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"   {kind:16} {count:5}  {outcome}")


if __name__ == "__main__":
    asyncio.run(main())

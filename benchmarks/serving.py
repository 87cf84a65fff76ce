"""Strop's server beside vLLM's own: requests a second, latencies, and what adaptive refinement adds.

    python benchmarks/serving.py [MODEL] [--repeats 2] [--levels 1,4,16,32] [--requests 24,32,48,64]

Each server runs the same checkpoint with the same engine settings, in a process of its own, one at a time,
and is asked the same BFCL prompts (simple and multiple, in turns, with their tools), each level of clients
its own prompts. The servers take turns `repeats` times, the other way round every second time, so that a
machine that slows down slows all of them.
Ratios are to vLLM's server in the same run. ``adaptive`` is Strop's server with ``--refine adaptive``:
``time × off`` is what checking adds, ``stood`` the share of drafts that stood after one check, ``cached`` the
share of the check turns' prompts that came out of the prefix cache. Latencies are of whole answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from strop.agent.engines.vllm import default_arguments, set_environment
from strop.agent.models import ModelStore
from strop.tools.bfcl.suite import load_suite
from strop.tools.task import Task

CONTEXT, MOST_TOKENS, STARTUP_SECONDS = 4096, 256, 300


@dataclass
class Level:
    """What one server did at one number of clients, all turns together."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    tokens: int = 0
    same: int = 0
    """Answers that ended after one check with the draft they began with."""
    check_tokens: int = 0
    cached_check_tokens: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    options = parser().parse_args()
    set_environment()
    model = ModelStore().resolve(options.model)
    levels = [int(level) for level in options.levels.split(",")]
    counts = [int(count) for count in options.requests.split(",")]
    suites = (load_suite([name]).cases for name in ("simple_python", "multiple"))
    tasks = [case.task for pair in zip(*suites, strict=False) for case in pair]
    servers = options.servers.split(",")
    results = {server: {level: Level() for level in levels} for server in servers}
    for turn in range(options.repeats):
        for server in servers if turn % 2 == 0 else servers[::-1]:
            with started(server, str(model.path)) as url:
                asyncio.run(measured(url, tasks, dict(zip(levels, counts, strict=True)), results[server]))
            print(f"turn {turn + 1}: {server} done", file=sys.stderr, flush=True)
    report(results)


def parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    options.add_argument("model", nargs="?", default="qwen2.5-coder-0.5b")
    options.add_argument("--repeats", type=int, default=2)
    options.add_argument("--servers", default="vllm,off,adaptive", help="the first two always")
    options.add_argument("--levels", default="1,4,16,32", help="clients at once")
    options.add_argument("--requests", default="24,32,48,64", help="requests at each level")
    return options


@contextmanager
def started(server: str, checkpoint: str) -> Iterator[str]:
    """The server's base URL while it runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = vllm_words(checkpoint, port) if server == "vllm" else strop_words(checkpoint, port, server)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def strop_words(checkpoint: str, port: int, refine: str) -> list[str]:
    base = [sys.executable, "-m", "strop.agent.cli", "serve", checkpoint, "--port", str(port)]
    return [*base, "--served-model-name", "m", "--max-model-len", str(CONTEXT), "--refine", refine]


def vllm_words(checkpoint: str, port: int) -> list[str]:
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port)]
    words += ["--host", "127.0.0.1", "--served-model-name", "m", "--disable-uvicorn-access-log"]
    words += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    for name, value in default_arguments_here(checkpoint).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def default_arguments_here(checkpoint: str) -> dict[str, Any]:
    arguments = default_arguments(Path(checkpoint), CONTEXT, on_cpu=not on_gpu())
    return {name: value for name, value in arguments.items() if name != "use_tqdm_on_load"}


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"a server left with status {process.returncode}: {' '.join(map(str, process.args))}")
        try:
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    sys.exit("a server did not start")


async def measured(url: str, tasks: list[Task], counts: dict[int, int], into: dict[int, Level]) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        await asyncio.gather(*(ask(http, task, Level()) for task in tasks[-4:]))  # warm
        at = 0
        for level, count in counts.items():
            queue = iter(tasks[at : at + count])
            at += count
            began = time.perf_counter()
            await asyncio.gather(*(client(http, queue, into[level]) for _ in range(level)))
            into[level].seconds += time.perf_counter() - began


async def client(http: httpx.AsyncClient, queue: Iterator[Task], level: Level) -> None:
    for task in queue:
        await ask(http, task, level)


async def ask(http: httpx.AsyncClient, task: Task, level: Level) -> None:
    body = {
        "model": "m",
        "messages": list(task.messages),
        "tools": [tool.to_openai() for tool in task.tools],
        "temperature": 0,
        "max_tokens": MOST_TOKENS,
    }
    began = time.perf_counter()
    reply = await http.post("/v1/chat/completions", json=body)
    level.latencies.append(time.perf_counter() - began)
    reply.raise_for_status()
    answer = reply.json()
    usage, extra = answer["usage"], answer.get("strop") or {}
    level.tokens += usage["completion_tokens"]
    level.same += extra.get("stop_reason") in ("p_stop", "stop_token", "gate") and extra["rounds"] <= 1
    details = usage.get("prompt_tokens_details") or {}
    level.check_tokens += details.get("check_tokens") or 0
    level.cached_check_tokens += details.get("cached_check_tokens") or 0


def report(results: dict[str, dict[int, Level]]) -> None:
    print(f"{'clients':>7} {'server':9}{'req/s':>8}{'p50 s':>8}{'p99 s':>8}{'tokens':>8}", end="")
    print(f"{'req/s ×':>9}{'p50 ×':>8}{'p99 ×':>8}{'time × off':>11}{'stood':>7}{'cached':>8}")
    for level in results["vllm"]:
        base, off = results["vllm"][level], results["off"][level]
        for server in results:
            row = results[server][level]
            print(f"{level:7} {server:9}{row.rate:8.3f}{row.percentile(0.5):8.3f}", end="")
            print(f"{row.percentile(0.99):8.3f}{row.tokens:8}{row.rate / base.rate:9.3f}", end="")
            print(f"{row.percentile(0.5) / base.percentile(0.5):8.3f}", end="")
            print(f"{row.percentile(0.99) / base.percentile(0.99):8.3f}", end="")
            if server == "adaptive":
                hit = row.cached_check_tokens / max(1, row.check_tokens)
                stood = row.same / len(row.latencies)
                print(f"{row.seconds / off.seconds:11.3f}{stood:7.2f}{hit:8.3f}", end="")
            print()
    print("on a GPU" if on_gpu() else f"on {os.cpu_count()} cores")
    if "adaptive" not in results:
        return
    every = [results["adaptive"][level] for level in results["adaptive"]]
    hit = sum(row.cached_check_tokens for row in every) / max(1, sum(row.check_tokens for row in every))
    added = statistics.fmean(
        results["adaptive"][level].seconds / results["off"][level].seconds for level in results["off"]
    )
    print(f"adaptive: {added:.3f} × the time of off on average; {hit:.3f} of its check prompts were cached")


def on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    main()

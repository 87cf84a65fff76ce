"""Does a benchmark keep the engine as full as a bare loop of requests does?

    python benchmarks/bench_throughput.py [MODEL] [--tasks 64] [--concurrency 32] [--repeats 2]

One engine, prefix caching off; the same BFCL prompts, greedy, at most 64 new tokens each. In turns, the
other way round every second time: `run_bench`, which renders, reads, judges and writes every answer to
disk; and a loop that sends the token ids, `concurrency` at a time, and throws the answers away. Prints the
generated tokens a second of both and the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strop.agent.bench import run_bench
from strop.agent.crowd import in_flight
from strop.agent.engines.base import Sampling
from strop.agent.loading import PolicySource, load_policy
from strop.agent.policy import Policy
from strop.tools.bfcl.suite import load_suite
from strop.tools.suite import Suite

SAMPLING = Sampling(max_tokens=64)


async def bare(policy: Policy, prompts: Sequence[tuple[int, ...]], concurrency: int) -> float:
    """Tokens a second of the loop."""
    tokens = 0

    async def ask(prompt: tuple[int, ...]) -> None:
        nonlocal tokens
        (done,) = await policy.complete(prompt, SAMPLING)
        tokens += len(done.token_ids)

    began = time.monotonic()
    await in_flight(prompts, ask, concurrency)
    return tokens / (time.monotonic() - began)


async def bench(policy: Policy, suite: Suite, concurrency: int) -> float:
    """Tokens a second of the benchmark."""
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        summary = await run_bench(
            suite, policy, Path(out), sampling=SAMPLING, concurrency=concurrency, progress=False
        )
        return summary.usage.completion_tokens / (time.monotonic() - began)


async def measure(options: Any) -> None:
    whole = load_suite(["simple_python", "multiple"], limit=options.tasks // 2)
    source = PolicySource(options.model, None, "auto", 4096, {"enable_prefix_caching": False})
    rates: dict[str, list[float]] = {"bare loop": [], "strop bench": []}
    async with load_policy(source) as loaded:
        policy = loaded.policy
        prompts = [policy.prompt_ids(case.task) for case in whole.cases]
        await bare(policy, prompts[:8], options.concurrency)
        for turn in range(options.repeats):
            for name in itertools.islice(itertools.cycle(rates), turn % 2, turn % 2 + 2):
                if name == "bare loop":
                    rates[name].append(await bare(policy, prompts, options.concurrency))
                else:
                    rates[name].append(await bench(policy, whole, options.concurrency))
    for name, each in rates.items():
        print(f"{name:12} {sum(each) / len(each):8.1f} tokens/s  ({', '.join(f'{one:.1f}' for one in each)})")
    print(f"{sum(rates['strop bench']) / sum(rates['bare loop']):.3f} x")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-0.5b")
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()

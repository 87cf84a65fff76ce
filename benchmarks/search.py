"""What a generated token buys: pairs of Strop's search, beside iTool's, and how full the engine is.

    python benchmarks/search.py TASKS.jsonl [MODEL] [--tasks 200] [--itool 60] [--seed 0] [--print 10]

One vLLM engine, the same tasks drawn from the file, one part after the other with an empty prefix cache:

- ``collect``: all of a collection, files included (its settings are those of the command line);
- ``bare``: what it asked about some of the tasks (``--bare``, a share), once more: the same prompts in the
  same order, one request a sample, as long as the sample was, by a loop that keeps the engine full and does
  nothing else;
- ``itool``: iTool's procedure (``itool.py``) on the tasks whose gold has the highest perplexity, as many as
  ``--itool`` says. Its pairs are counted by its own rules, and those among them that are sound: completed
  greedily, which is not charged, the chosen side ends in a right answer and the rejected one in a wrong one.
  Strop's fragments are put to the same test; both sides of its full pairs were judged as they stand.

Prints tokens, tokens/s, the share of prompt ids out of the prefix cache (of every sample), accepted pairs and
pairs per 1,000 generated tokens, pairs by kind and by the rejected side's error, and some pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import itool

from strop.agent.crowd import in_flight
from strop.agent.engines.base import Completion, Sampling
from strop.agent.engines.vllm import VllmEngine
from strop.agent.engines.vllm_requests import completion, parameters
from strop.agent.loading import PolicySource, load_policy
from strop.agent.policy import Policy
from strop.refine.collect import CollectConfig, collect
from strop.refine.gate import GateConfig
from strop.refine.golden import gold_answer
from strop.refine.sample import assess
from strop.refine.search import SearchConfig
from strop.tools.files import read_jsonl
from strop.tools.task import Task, read_tasks


@dataclass(slots=True)
class Asked:
    """A request and what came of it."""

    prompt_ids: tuple[int, ...]
    lengths: list[int]
    cached: list[int]


@dataclass(slots=True)
class Part:
    """What a part of the benchmark did."""

    name: str
    asked: list[Asked] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(sum(one.lengths) for one in self.asked)

    @property
    def hit_rate(self) -> float:
        """Share of prompt ids, counted once a sample, that came out of the cache."""
        prompts = sum(len(one.prompt_ids) * len(one.lengths) for one in self.asked)
        return sum(sum(one.cached) for one in self.asked) / prompts if prompts else 0.0

    def line(self) -> str:
        rate = self.tokens / self.seconds
        return (
            f"{self.name:9}{len(self.asked):9,}{self.tokens:10,}{self.seconds:9.0f}{rate:10.1f}"
            f"{100 * self.hit_rate:10.1f} %"
        )


class Metered:
    """A vLLM engine that notes what it is asked. Otherwise the engine itself."""

    def __init__(self, engine: VllmEngine) -> None:
        self._engine = engine
        self.part = Part("")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        done = await self._engine.generate(prompt_ids, sampling, adapter=adapter)
        self._note(prompt_ids, done)
        return done

    async def penalised(self, prompt_ids: Sequence[int], sampling: Sampling) -> list[Completion]:
        """`generate` with iTool's repetition penalty, which no other part of Strop wants."""
        asked = parameters(sampling, stream=False)
        asked.repetition_penalty = itool.REPETITION_PENALTY
        done = await self._raw(prompt_ids, asked, sampling)
        self._note(prompt_ids, done)
        return done

    async def exactly(self, prompt_ids: Sequence[int], length: int) -> None:
        """One sample of that many ids, thrown away."""
        asked = parameters(Sampling(max_tokens=length, temperature=0.8, logprobs=True), stream=False)
        asked.min_tokens, asked.ignore_eos = length, True
        self._note(prompt_ids, await self._raw(prompt_ids, asked, Sampling()))

    async def forget(self) -> None:
        """Empty the prefix cache."""
        await self._engine._engine.reset_prefix_cache()

    async def _raw(self, prompt_ids: Sequence[int], asked: Any, sampling: Sampling) -> list[Completion]:
        async with aclosing(self._engine._outputs(prompt_ids, asked, None)) as outputs:
            async for output in outputs:
                if output.finished:
                    cached = output.num_cached_tokens or 0
                    return [completion(sample, sampling, cached, None) for sample in output.outputs]
        raise RuntimeError("no answer")

    def _note(self, prompt_ids: Sequence[int], done: Sequence[Completion]) -> None:
        lengths = [len(one.token_ids) for one in done]
        self.part.asked.append(Asked(tuple(prompt_ids), lengths, [one.cached_tokens for one in done]))


async def measured(engine: Metered, name: str, work: Any) -> tuple[Part, Any]:
    """Run a part with an empty prefix cache."""
    await engine.forget()
    engine.part = Part(name)
    began = time.monotonic()
    result = await work
    engine.part.seconds = time.monotonic() - began
    return engine.part, result


async def bare(engine: Metered, asked: Sequence[Asked], concurrency: int) -> None:
    requests = [(one.prompt_ids, length) for one in asked for length in one.lengths]

    async def ask(request: tuple[tuple[int, ...], int]) -> None:
        await engine.exactly(*request)

    await in_flight(requests, ask, concurrency)


def of_tasks(asked: Sequence[Asked], tasks: Sequence[Task], policy: Policy) -> list[Asked]:
    """Requests about these tasks."""
    prompts = {policy.prompt_ids(task) for task in tasks}
    lengths = {len(prompt) for prompt in prompts}
    return [one for one in asked if any(one.prompt_ids[:length] in prompts for length in lengths)]


async def hardest(tasks: Sequence[Task], policy: Policy, most: int) -> list[Task]:
    """Those whose gold has the highest perplexity under the policy, as iTool selects."""
    scores: dict[str, float] = {}

    async def score(task: Task) -> None:
        gold = gold_answer(task, policy.template)
        if gold is not None:
            logprobs = await policy.engine.score(policy.prompt_ids(task), gold.ids)
            scores[task.id] = -sum(logprobs) / len(logprobs)

    await in_flight(tasks, score, 4)
    ranked = sorted((task for task in tasks if task.id in scores), key=lambda task: -scores[task.id])
    return ranked[:most]


async def itool_pairs(tasks: Sequence[Task], policy: Policy, engine: Metered) -> list[itool.TextPair]:
    found: list[itool.TextPair] = []

    async def search(task: Task) -> None:
        found.extend(await itool.pairs_of(task, policy, engine.penalised))

    await in_flight(tasks, search, 12)
    return itool.shuffled(found)


Begun = tuple[Task, tuple[int, ...], tuple[int, ...]]
"""A task, and the beginnings of a better and of a worse answer to it."""


def begun_by_text(pair: itool.TextPair, policy: Policy) -> Begun:
    better, worse = (policy.template.encode(f"{pair.before}{text}") for text in (pair.chosen, pair.rejected))
    return pair.task, better, worse


def begun_by_row(row: Mapping[str, Any], tasks: Mapping[str, Task]) -> Begun:
    better, worse = ((*row["prefix_ids"], *row[side]) for side in ("chosen_ids", "rejected_ids"))
    return tasks[row["task_id"]], better, worse


async def sound(pairs: Sequence[Begun], policy: Policy) -> int:
    """How many of the pairs, completed greedily, are right on one side and wrong on the other."""
    count = 0

    async def judge(pair: Begun) -> None:
        nonlocal count
        task, *sides = pair
        right, wrong = [await _completed(task, ids, policy) for ids in sides]
        count += right and not wrong

    await in_flight(pairs, judge, 16)
    return count


async def _completed(task: Task, ids: tuple[int, ...], policy: Policy) -> bool:
    prompt = policy.prompt_ids(task)
    (done,) = await policy.complete((*prompt, *ids), Sampling(max_tokens=256))
    draft = policy.draft_of(prompt, Completion((*ids, *done.token_ids), done.finish_reason), task.tools)
    return assess(task, draft).verdict.correct


def settings(options: Any) -> CollectConfig:
    return CollectConfig(
        samples=options.samples,
        seed=options.seed,
        search=SearchConfig(simulations=options.simulations, width=options.width, wave=options.wave),
        gate=GateConfig(per_task=options.per_task),
        concurrency=options.concurrency,
    )


def show_collection(out: Path, summary: Any, part: Part, shown: int) -> None:
    rows = [row for _, row in read_jsonl(out / "pairs.jsonl")[0]]
    print(f"\n{summary.tasks} tasks, {summary.searched} searched, {len(rows)} accepted pairs")
    print(f"pairs per 1,000 generated tokens: {1000 * len(rows) / part.tokens:.2f}")
    for name, of in (
        ("kind", lambda row: row["kind"]),
        ("source", lambda row: row["evidence"]["source"]),
        ("error of the rejected side", lambda row: row["evidence"]["rejected_verdict"]),
    ):
        counts = Counter(map(of, rows)).most_common()
        print(f"by {name}: " + ", ".join(f"{value} {count}" for value, count in counts))
    print("refused: " + ", ".join(f"{name} {count}" for name, count in summary.refused.items()))
    for row in _spread(rows, shown):
        evidence: Mapping[str, Any] = row["evidence"]
        print(f"\n--- {row['task_id']} ({row['kind']}, rejected: {evidence['rejected_verdict']})")
        values = (evidence["chosen_value"], evidence["rejected_value"])
        print(f"+ {row['chosen_text']}\n- {row['rejected_text']}\n  values {values[0]:.2f} / {values[1]:.2f}")


def show_rates(name: str, pairs: int, good: int, part: Part) -> None:
    rates = [1000 * count / part.tokens for count in (pairs, good)]
    print(f"{name}: {pairs} pairs by its own rules, {rates[0]:.2f} per 1,000 generated tokens")
    print(f"{name}: {good} of them sound, {rates[1]:.2f} per 1,000 generated tokens", flush=True)


def _spread(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Some of each error, in turns."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["evidence"]["rejected_verdict"], []).append(row)
    mixed = itertools.chain.from_iterable(itertools.zip_longest(*groups.values()))
    return [row for row in mixed if row is not None][:most]


async def run(options: Any) -> None:
    tasks = read_tasks(options.file)[0]
    tasks = random.Random(options.seed).sample(tasks, min(options.tasks, len(tasks)))
    config = settings(options)
    async with load_policy(PolicySource(options.model, None, "vllm", 4096, {})) as loaded:
        plain = loaded.policy
        engine = Metered(plain.engine)  # type: ignore[arg-type]  # asked for above
        policy = Policy(engine, plain.template, name=plain.name)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as folder:
            out = options.out or Path(folder)
            ours, summary = await measured(engine, "collect", collect(tasks, policy, config, out))
            parts = [ours]
            if options.bare:
                again = of_tasks(ours.asked, tasks[: max(1, round(options.bare * len(tasks)))], policy)
                loop = bare(engine, again, options.sequences)
                parts.append((await measured(engine, "bare", loop))[0])
            theirs: list[itool.TextPair] = []
            if options.itool:
                chosen = await hardest(tasks, policy, options.itool)
                part, theirs = await measured(engine, "itool", itool_pairs(chosen, policy, engine))
                parts.append(part)
            print(f"\n{'':9}{'requests':>9}{'tokens':>10}{'seconds':>9}{'tokens/s':>10}{'cached':>12}")
            print("\n".join(part.line() for part in parts))
            if options.bare:
                rates = [part.tokens / part.seconds for part in parts[:2]]
                print(f"collect at {rates[0] / rates[1]:.3f} of the bare loop's tokens/s")
            engine.part = Part("not charged")
            show_collection(out, summary, ours, options.print)
            rows = [row for _, row in read_jsonl(out / "pairs.jsonl")[0] if row["kind"] == "fragment"]
            by_id = {task.id: task for task in tasks}
            good = await sound([begun_by_row(row, by_id) for row in rows], policy)
            print(f"\nfragments completed greedily: {good} of {len(rows)} are right on one side only")
            whole = summary.by_kind.get("full", 0)  # both sides of these were judged
            show_rates("Strop", whole + len(rows), whole + good, ours)
            if options.itool:
                good = await sound([begun_by_text(pair, policy) for pair in theirs], policy)
                show_rates("iTool", len(theirs), good, parts[-1])


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("file", type=Path, help="tasks with gold")
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-0.5b")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--itool", type=int, default=60, help="tasks of the baseline; 0 leaves it out")
    parser.add_argument("--bare", type=float, default=1.0, help="share of the tasks asked once more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=CollectConfig().samples)
    parser.add_argument("--simulations", type=int, default=SearchConfig().simulations)
    parser.add_argument("--width", type=int, default=SearchConfig().width)
    parser.add_argument("--wave", type=int, default=SearchConfig().wave)
    parser.add_argument("--per-task", type=int, default=GateConfig().per_task)
    parser.add_argument("--concurrency", type=int, default=CollectConfig().concurrency)
    parser.add_argument("--sequences", type=int, default=32, help="requests in flight of the bare loop")
    parser.add_argument("--out", type=Path, help="keep the collection here")
    parser.add_argument("--print", type=int, default=10, help="pairs to print")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

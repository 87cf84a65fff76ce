"""Runs a benchmark: every task asked, every answer judged and kept.

A directory holds one benchmark of one model under one set of settings:

    settings.json   what was asked of whom; a run with other settings refuses the directory
    answers.jsonl   one row an answer, appended as answers come, in task order once all are there
    conversations.jsonl  those that cases of BFCL's memory go on from
    summary.json    scores by category, with intervals, and the suite's overalls
    page.html       the same to look at, and every failure to browse
    result/<model>/ for BFCL, the answers in the official layout, which its own evaluator reads

A run that was stopped, however, goes on where it was when started again: rows already there are kept and
not asked again. Later runs may add categories, raise the limit or take more samples; the summary speaks of
all rows. A task that cannot be asked, because the endpoint refuses it or the model's template does, is wrong
and the run goes on. Where `MOST_REFUSED` in a row are, or all that a run asked, one that was answered before
is asked once more: if that is refused as well, or there is none, something is wrong with the run, which
stops; those in a row are asked again by the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from strop.agent.answer import Answerer
from strop.agent.attempt import answered, refused
from strop.agent.board import Board
from strop.agent.cache import uncached
from strop.agent.claim import claim
from strop.agent.conversations import CONVERSATIONS, Conversations, conversations_of, ends, read_conversations
from strop.agent.crowd import in_flight
from strop.agent.engines.base import Sampling
from strop.agent.failure import failures_of
from strop.agent.lock import held
from strop.agent.outcome import write_outcome
from strop.agent.rows import ANSWERS, REFUSED, Row, key_of, read_answers
from strop.agent.summary import Summary, by_category, scores_of, usage_of
from strop.agent.user import User
from strop.tools.bfcl.results import write_results
from strop.tools.episode import is_sequel
from strop.tools.errors import RefusedError, StropError, UsageError
from strop.tools.files import JsonlWriter, write_jsonl
from strop.tools.suite import AnyCase, Suite

MOST_REFUSED = 8
"""Tasks in a row."""

Recall: TypeAlias = Callable[[Sequence[str]], Suite]
"""Loads categories of the suite, whole."""
_Wanted: TypeAlias = tuple[AnyCase, int]
"""A case and the number of a sample."""
_Ask: TypeAlias = Callable[[AnyCase, int], Awaitable[Any]]


async def run_bench(
    suite: Suite,
    answerer: Answerer,
    out: Path,
    *,
    model: str | None = None,
    refine: str = "off",
    asked: Mapping[str, Any] | None = None,
    sampling: Sampling | None = None,
    samples: int = 1,
    concurrency: int = 32,
    progress: bool = True,
    user: User | None = None,
    recall: Recall | None = None,
) -> Summary:
    """Ask every case not yet answered in `out`, `concurrency` at a time, and write what the module says.

    `asked` tells the answerer from others of its name (weights, engine, address). `model` defaults to the
    answerer's name, `sampling` to greedy with 512 tokens. Of several `samples` a task each is asked for
    with a seed of its own. A task too long for the model is a wrong answer (``too_long``), not a failure.
    `user` plays the user of dialogues that have one.

    Raises UsageError where `out` holds answers under other settings or several samples would be one and the
    same, DataError where its answers cannot be read, RunError where it cannot be written, and whatever the
    answerer raises, but RefusedError and UsageError only as the module says: then the answers that came
    before stay, and the next run goes on from them. `recall` loads what a page shows of the answers that
    earlier runs got in other categories, and how many tasks those have.
    """
    sampling = sampling or Sampling()
    if samples < 1 or (samples > 1 and sampling.temperature == 0):
        raise UsageError(
            f"{samples} samples a task need a temperature above 0; greedy answers are all the same"
        )
    model = model or answerer.name
    settings = {"suite": suite.name, "version": suite.version, "model": model, "refine": refine}
    settings |= {**(asked or {}), **{f"sampling.{name}": value for name, value in asdict(sampling).items()}}
    wanted = [(case, sample) for case in suite.cases for sample in range(samples)]

    def drawn(sample: int) -> Sampling:
        return replace(sampling, seed=(sampling.seed or 0) + sample) if samples > 1 else sampling

    with held(out / ".lock", f"a benchmark in {out}"):
        claim(out, settings, "answers", (ANSWERS, CONVERSATIONS), optional=("user",))
        asking = _Asking(answerer, drawn, user, concurrency, progress)
        ledger, talked = await asking.all(wanted, out)
        ordered = ledger.in_order_of([(case.task.id, sample) for case, sample in wanted])
        suite = _with_earlier(suite, ordered, recall)
        overalls = suite.overalls(scores_of(ordered), suite.sizes)
        usage = usage_of([*ordered, *talked])
        summary = Summary(suite.name, model, refine, by_category(ordered), usage, ledger.seconds, overalls)
        _write(out, suite, ordered, summary)
    return summary


@dataclass(frozen=True, slots=True)
class _Asking:
    """How cases are asked."""

    answerer: Answerer
    sampling: Callable[[int], Sampling]
    """Of a sample."""
    user: User | None
    concurrency: int
    progress: bool

    async def all(self, wanted: Sequence[_Wanted], out: Path) -> tuple[_Ledger, Iterable[Row]]:
        """Ask what has no row yet; all rows, and those of the conversations."""
        with JsonlWriter(out / ANSWERS) as writer:
            ledger = _Ledger(writer, read_answers(out), wanted)
            todo = [one for one in wanted if (one[0].task.id, one[1]) not in ledger.rows]
            talked = read_conversations(out)
            talks = conversations_of(todo, talked)
            categories = [case.task.category for case, _ in (*talks, *todo)]
            with Board([*talked, *ledger.rows.values()], categories, self.progress) as board:
                earlier = Conversations(out, talked, self.answerer, self.sampling, board.count)
                one_doubts = asyncio.Lock()

                async def row_of(case: AnyCase, sample: int) -> dict[str, Any]:
                    sampling = self.sampling(sample)
                    return await answered(case, self.answerer, sampling, sample, earlier.begin, self.user)

                async def row_anew(case: AnyCase, sample: int) -> dict[str, Any]:
                    # What was answered before has to be answered now: not out of a file.
                    asked, sampling = uncached(self.answerer), self.sampling(sample)
                    return await answered(case, asked, sampling, sample, earlier.begin, self.user)

                async def ask(case: AnyCase, sample: int) -> None:
                    try:
                        row = await row_of(case, sample)
                    except (RefusedError, UsageError) as error:
                        row = refused(case, sample, str(error))
                        ledger.hold(row, error)
                        async with one_doubts:
                            if ledger.doubtful:
                                await ledger.prove(row_anew)
                    else:
                        ledger.add(row, case)
                    board.count(row)

                # A conversation has those before it played first: a job a chain. What waits for one is last.
                jobs: list[Callable[[], Awaitable[Any]]] = [
                    partial(earlier.ahead, *one) for one in ends(talks)
                ]
                jobs += [partial(ask, *one) for one in sorted(todo, key=lambda one: is_sequel(one[0]))]
                await in_flight(jobs, lambda job: job(), self.concurrency)
                await ledger.settle(row_anew)
        return ledger, earlier.rows


def _with_earlier(suite: Suite, rows: Iterable[Row], recall: Recall | None) -> Suite:
    """`suite` with the cases of rows that it does not ask, and the sizes of their categories."""
    known = {case.task.id for case in suite.cases}
    others = dict.fromkeys(row["category"] for row in rows if row["id"] not in known)
    if not others or recall is None:
        return suite
    earlier = recall(tuple(others))
    cases = (*suite.cases, *(case for case in earlier.cases if case.task.id not in known))
    return replace(suite, cases=cases, sizes={**earlier.sizes, **suite.sizes})


class _Ledger:
    """The rows there are, and the time they took, interruptions left out."""

    def __init__(self, writer: JsonlWriter, kept: Iterable[dict[str, Any]], wanted: Iterable[_Wanted]):
        self.rows = {key_of(row): row for row in kept}
        self._writer = writer
        self._before = max((row["elapsed"] for row in self.rows.values()), default=0.0)
        self._began = time.monotonic()
        self._held: list[tuple[dict[str, Any], StropError]] = []
        self._has_answered = False
        self._answered = next((one for one in wanted if self._has_answer(one)), None)

    def add(self, row: dict[str, Any], case: AnyCase) -> None:
        """Keep one more row, and those held back, on disk before this returns."""
        self._keep_held()
        self._keep(row)
        self._answered = (case, row["sample"])
        self._has_answered = True

    def hold(self, row: dict[str, Any], why: StropError) -> None:
        """A task that could not be asked counts once another could."""
        self._held.append((row, why))

    @property
    def doubtful(self) -> bool:
        """Whether so many are held back that the run itself may be to blame."""
        return len(self._held) >= MOST_REFUSED

    async def prove(self, ask: _Ask) -> None:
        """Keep what is held back if a task that was answered before still is. Raises why it is not."""
        if self._answered is None:
            raise self._held[-1][1]
        await ask(*self._answered)
        self._has_answered = True
        self._keep_held()

    async def settle(self, ask: _Ask) -> None:
        """Keep what is held back, where this run had any answer; else raises as `prove` does."""
        if self._held and not self._has_answered:
            await self.prove(ask)
        self._keep_held()

    def _has_answer(self, one: _Wanted) -> bool:
        row = self.rows.get((one[0].task.id, one[1]))
        return row is not None and row.get("error") != REFUSED

    def _keep_held(self) -> None:
        for row, _ in self._held:
            self._keep(row)
        self._held = []

    def _keep(self, row: dict[str, Any]) -> None:
        elapsed = self._before + time.monotonic() - self._began
        row = row | {"elapsed": round(elapsed, 3)}
        self._writer.write(row)
        self.rows[key_of(row)] = row

    def in_order_of(self, keys: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
        """Rows of these keys, then those of earlier runs that asked for others."""
        asked = dict.fromkeys(keys)
        return [self.rows[key] for key in (*asked, *(other for other in self.rows if other not in asked))]

    @property
    def seconds(self) -> float:
        return max((row["elapsed"] for row in self.rows.values()), default=0.0)


def _write(out: Path, suite: Suite, rows: list[dict[str, Any]], summary: Summary) -> None:
    write_jsonl(out / ANSWERS, rows)
    if suite.name == "bfcl":
        write_results(out, summary.model, [row for row in rows if not row.get("sample")])
    write_outcome(out, summary, failures_of(rows, suite.cases))

"""The conversations that some cases go on from: each is played once a sample, and kept.

``conversations.jsonl`` has a row for each, of which a later run goes on. What a conversation leaves behind is
its calls; where it did not fit the model's context, or was broken off by its world, it leaves nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from strop.agent.answer import Answerer
from strop.agent.attempt import turns_of
from strop.agent.engines.base import Sampling
from strop.agent.episodes import Trajectory, play
from strop.agent.rows import Row, key_of
from strop.tools.episode import Episode, Sequel, is_sequel
from strop.tools.errors import DataError, RefusedError, StepLimitError, StropError, UsageError
from strop.tools.files import JsonlWriter, read_jsonl
from strop.tools.spec import ToolCall
from strop.tools.suite import AnyCase

CONVERSATIONS = "conversations.jsonl"


class Conversations:
    """Those of one benchmark's directory."""

    def __init__(
        self,
        out: Path,
        talked: Iterable[Row],
        answerer: Answerer,
        sampling: Callable[[int], Sampling],
        played: Callable[[Row], None],
    ):
        """`talked` are the rows there are, `sampling` is a sample's, `played` is told of every new row."""
        self._path = out / CONVERSATIONS
        self._answerer = answerer
        self._sampling = sampling
        self._played = played
        self._rows: dict[tuple[str, int], Row] = {key_of(row): row for row in talked}
        self._refused: dict[tuple[str, int], StropError] = {}
        self._playing: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def rows(self) -> Iterable[Row]:
        """All that were played, in earlier runs, too."""
        return self._rows.values()

    async def begin(self, case: Sequel, sample: int) -> Episode:
        """The case as an episode, once all conversations before it were played.

        Raises as `play` does, StepLimitError where its world takes too long to begin.
        """
        earlier = [call for one in case.before for call in _calls(await self.row(one, sample))]
        return await asyncio.to_thread(case.begin, earlier, str(sample))

    async def ahead(self, conversation: Sequel, sample: int) -> None:
        """Play a conversation before it is needed; where it is refused, what needs it will learn so."""
        with suppress(RefusedError, UsageError):
            await self.row(conversation, sample)

    async def row(self, conversation: Sequel, sample: int) -> Row:
        """A conversation's row; it is played if nobody has, after those before it.

        Raises as `play` does, RefusedError and UsageError once more without asking again.
        """
        key = conversation.task.id, sample
        async with self._playing[key]:
            if key in self._refused:
                raise self._refused[key]
            if key not in self._rows:
                try:
                    played = await self._play(conversation, sample)
                except (RefusedError, UsageError) as error:
                    self._refused[key] = error
                    raise
                self._keep(played)
        return self._rows[key]

    async def _play(self, conversation: Sequel, sample: int) -> dict[str, Any]:
        began = time.monotonic()
        try:
            episode = await self.begin(conversation, sample)
            played = await play(episode, self._answerer, self._sampling(sample), str(sample))
        except StepLimitError as error:
            played = Trajectory((), (), str(error), cut_off=True)
        return {
            "category": conversation.task.category,
            "id": conversation.task.id,
            "sample": sample,
            **turns_of(played),
            "problem": played.problem,
            "lost": played.too_long or played.cut_off,
            "usage": asdict(played.usage),
            "seconds": round(time.monotonic() - began, 3),
        }

    def _keep(self, row: Row) -> None:
        with JsonlWriter(self._path) as writer:
            writer.write(row)
        self._rows[key_of(row)] = row
        self._played(row)


def _calls(row: Row) -> list[ToolCall]:
    """What a conversation leaves behind."""
    if row["lost"]:
        return []
    steps = [step for turn in row["turns"] for step in turn]
    return [ToolCall(call["name"], call["arguments"]) for step in steps for call in step["calls"]]


def read_conversations(out: Path) -> list[dict[str, Any]]:
    """Rows of a benchmark directory. Raises DataError for one that cannot be read, RunError as writers do."""
    path = out / CONVERSATIONS
    if not path.exists():
        return []
    JsonlWriter(path).close()  # drops a last line that a killed run had not finished
    rows, bad = read_jsonl(path)
    if bad:
        reason = f"{bad[0].reason}; delete the line to have it played again"
        raise DataError(reason, path=path, line=bad[0].line)
    for line, row in rows:
        if not {"category", "id", "turns", "lost", "usage"} <= row.keys():
            raise DataError("no conversation of a benchmark; delete the line", path=path, line=line)
    return [row for _, row in rows]


def conversations_of(cases: Iterable[tuple[AnyCase, int]], talked: Iterable[Row]) -> list[tuple[Sequel, int]]:
    """The conversations that these cases and samples need and nobody has played, in their order."""
    needed = {
        (one.task.id, sample): (one, sample)
        for case, sample in cases
        if is_sequel(case)
        for one in case.before
    }
    there = {key_of(row) for row in talked}
    return [one for key, one in needed.items() if key not in there]


def ends(conversations: Sequence[tuple[Sequel, int]]) -> list[tuple[Sequel, int]]:
    """Those that none of the others goes on from."""
    inner = {(one.task.id, sample) for talk, sample in conversations for one in talk.before}
    return [(talk, sample) for talk, sample in conversations if (talk.task.id, sample) not in inner]

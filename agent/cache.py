"""Answers that were given before: the same model, the same prompt, the same sampling are not asked twice.

One SQLite file, which several runs may use at once. An answer is kept whole, ids and log-probabilities
included, so that what is read from the cache is what was sampled.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from strop.agent.answer import Answer, Answerer, Draft, StopReason, Usage
from strop.agent.engines.base import FinishReason, Sampling
from strop.tools.errors import RunError
from strop.tools.files import json_text
from strop.tools.spec import ToolCall
from strop.tools.task import Task


class CachedAnswerer:
    """An `Answerer` that looks into a file before it asks another one.

    `identity` is everything an answer depends on besides prompt and sampling: model, weights, adapter,
    refinement, engine, address. `prompt_of` gives a task's prompt ids, or whatever stands for them.
    """

    def __init__(
        self, inner: Answerer, path: Path, identity: Mapping[str, Any], prompt_of: Callable[[Task], Any]
    ):
        self.inner = inner
        self._path = path
        self._identity = dict(identity)
        self._prompt_of = prompt_of
        self.found = 0
        """Answers that came out of the file."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)"
            )
        except (sqlite3.Error, OSError) as error:
            raise RunError(f"the cache {path} cannot be used: {error}") from error

    @property
    def name(self) -> str:
        return self.inner.name

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        """From the file, else asked and kept.

        Raises what the other answerer raises, RunError where the file cannot be read or written.
        """
        key = self._key(task, sampling)
        kept = self._do("SELECT answer FROM answers WHERE key = ?", key).fetchone()
        if kept is not None:
            self.found += 1
            return self._read(kept[0])
        answer = await self.inner.answer(task, sampling)
        self._do("INSERT OR REPLACE INTO answers VALUES (?, ?)", key, json_text(answer_to_json(answer)))
        return answer

    def _do(self, statement: str, *values: str) -> sqlite3.Cursor:
        try:
            return self._file.execute(statement, values)
        except sqlite3.Error as error:
            raise RunError(f"the cache {self._path} cannot be used: {error}") from error

    def _read(self, kept: str) -> Answer:
        try:
            return answer_from_json(json.loads(kept))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"the cache {self._path} holds what is no answer: move it away") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _key(self, task: Task, sampling: Sampling) -> str:
        # The order of a prompt's parts is what was asked; that of settings is nothing.
        made = json.dumps([self._identity, asdict(sampling)], sort_keys=True)
        return hashlib.sha256((made + json.dumps(self._prompt_of(task))).encode()).hexdigest()


def uncached(answerer: Answerer) -> Answerer:
    """The answerer that is really asked."""
    return answerer.inner if isinstance(answerer, CachedAnswerer) else answerer


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Everything of an answer."""
    row = asdict(answer)
    for draft, kept in zip((answer.final, *answer.drafts), (row["final"], *row["drafts"]), strict=True):
        kept["calls"] = [{**call.to_json(), "text": call.text} for call in draft.calls]
    return row


def answer_from_json(row: Mapping[str, Any]) -> Answer:
    """The inverse of `answer_to_json`."""
    return Answer(
        final=_draft(row["final"]),
        usage=Usage(**row["usage"]),
        drafts=tuple(map(_draft, row["drafts"])),
        rounds=row["rounds"],
        stop_reason=StopReason(row["stop_reason"]),
        p_stop=row["p_stop"],
        check_usage=Usage(**row["check_usage"]),
    )


def _draft(row: Mapping[str, Any]) -> Draft:
    tops = row["top_logprobs"]
    return Draft(
        prompt_ids=tuple(row["prompt_ids"]),
        token_ids=tuple(row["token_ids"]),
        text=row["text"],
        calls=tuple(ToolCall(call["name"], call["arguments"], call["text"]) for call in row["calls"]),
        content=row["content"],
        repairs=tuple(row["repairs"]),
        problem=row["problem"],
        reasoning=row["reasoning"],
        opened=row.get("opened", False),
        logprobs=None if row["logprobs"] is None else tuple(row["logprobs"]),
        top_logprobs=None if tops is None else tuple(tuple((i, p) for i, p in step) for step in tops),
        finish_reason=FinishReason(row["finish_reason"]),
    )

"""Tasks as far as they can be read back from token ids, to compare them with benchmarks like any others.

A prompt is decoded and cut at its special tokens: where the template closes a turn with one, a piece is a
turn. Which piece is the user's is not told; each counts as asked. Tools are the JSON objects in it that look
like one. Not seen are tools that a template shows in another form, and answers of fragments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from strop.agent.chat import Ids
from strop.refine.pairs import PairKind
from strop.refine.record import PairRecord, read_records
from strop.tools.errors import DataError
from strop.tools.formats import read_calls
from strop.tools.spec import ToolSpec
from strop.tools.task import ROLES, Gold, Task
from strop.training.datasets import SftRow, tasks_and_ids

_ROLE = re.compile(rf"\s*(?:{'|'.join(ROLES)})\s*\n")
"""How templates head a turn."""


class Decoder(Protocol):
    """The part of a transformers tokenizer that this needs."""

    @property
    def added_tokens_decoder(self) -> Any: ...

    def decode(self, ids: Sequence[int]) -> str: ...


def demonstrated(path: Path, model: Path) -> list[Task]:
    """What a file of demonstrations trains on, tasks as they are; `model` is the checkpoint whose ids it has.

    Rows that are none are left to `strop.training.datasets.read_sft` to name. Raises DataError where the file
    cannot be read, ModelError for a checkpoint without a tokenizer.
    """
    rows = [row for _, row in tasks_and_ids(path)[0]]
    tasks = [row for row in rows if isinstance(row, Task)]
    ids = [row for row in rows if isinstance(row, SftRow)]
    if not ids:
        return tasks
    decoder = _decoder(model)
    return tasks + [
        read_back(row.id, row.prompt_ids, decoder.decode(list(row.answer_ids)), decoder) for row in ids
    ]


def preferred(path: Path, model: Path) -> list[Task]:
    """What a file of pairs trains towards, each prompt and whole chosen answer once; as `demonstrated`."""
    records, _ = read_records(path)
    distinct = {(record.prompt_ids, _whole_answer(record)): record for record in records}
    decoder = _decoder(model)
    return [
        read_back(record.task_id or record.id, prompt, answer, decoder)
        for (prompt, answer), record in distinct.items()
    ]


def read_back(name: str, prompt_ids: Ids, answer: str | None, decoder: Decoder) -> Task:
    """The task of that id which a prompt seems to be of, and its gold where `answer` has calls."""
    pieces = list(_pieces(prompt_ids, decoder))
    asked = tuple({"role": "user", "content": _ROLE.sub("", piece, count=1)} for piece in pieces)
    calls = read_calls(answer).calls if answer else ()
    return Task(name, asked, tuple(tool for piece in pieces for tool in tools_in(piece)), Gold(calls))


def tools_in(text: str) -> Iterator[ToolSpec]:
    """The tools that stand in a text as JSON, however they are listed."""
    read, at = json.JSONDecoder().raw_decode, text.find("{")
    while at != -1:
        try:
            value, end = read(text, at)
            if "parameters" in value.get("function", value):
                yield ToolSpec.from_openai(value)
                at = end - 1
        except (ValueError, TypeError, AttributeError, RecursionError, DataError):
            pass  # another brace, or an object that is no tool: there may be one within
        at = text.find("{", at + 1)


def _pieces(ids: Iterable[int], decoder: Decoder) -> Iterator[str]:
    """The texts between special tokens."""
    special = {index for index, token in decoder.added_tokens_decoder.items() if token.special}
    for is_special, group in groupby(ids, key=special.__contains__):
        if not is_special:
            yield decoder.decode(list(group))


def _whole_answer(record: PairRecord) -> str | None:
    return None if record.kind is PairKind.FRAGMENT else record.chosen.text


def _decoder(model: Path) -> Decoder:
    from strop.training.adapter import load_tokenizer

    decoder: Decoder = load_tokenizer(model)
    return decoder

"""What rows of token ids train on is read back as far as comparing needs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from strop.tools.files import write_jsonl
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold
from strop.training.transcripts import Decoder, demonstrated, preferred, read_back, tools_in
from tests.training.tiny import tiny_checkpoint

TOOL = ToolSpec("row", "Rows {over}.", {"type": "object", "properties": {"to": {"type": "string"}}})
CALL = ToolCall("row", {"to": "Horn"})
MARK = 0


class Characters:
    """An id a character, and one that is special."""

    def __init__(self) -> None:
        self.added_tokens_decoder = {index: SimpleNamespace(special=index == MARK) for index in (MARK, 65)}

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


def ids(*pieces: str) -> tuple[int, ...]:
    return tuple(one for piece in pieces for one in (MARK, *map(ord, piece)))


def test_turns_tools_and_calls_come_back_from_ids() -> None:
    decoder: Decoder = Characters()
    told = f"system\nYou may {{call}}:\n{json.dumps(TOOL.to_openai())}\n"
    prompt = ids(told, "user\nOver to Horn, please.", "assistant\n")
    task = read_back("t", prompt, FORMATS["fenced_json"].render([CALL]), decoder)
    assert [message["content"] for message in task.messages][1] == "Over to Horn, please."
    assert task.tools == (TOOL,)
    assert task.gold == Gold((CALL,))
    assert read_back("t", prompt, None, decoder).gold == Gold(())


@pytest.mark.parametrize(
    "listed",
    [
        json.dumps(TOOL.to_openai()),
        json.dumps([TOOL.to_openai()], indent=4),
        f'[{{"name": "no tool"}}, {json.dumps(TOOL.to_openai()["function"])}]',
        f"{{broken {json.dumps({'tools': [TOOL.to_openai()]})}",
    ],
    ids=["a line", "a list over several lines", "without the type", "in something else"],
)
def test_tools_are_found_however_they_are_listed(listed: str) -> None:
    assert list(tools_in(f"Tools {{}}: {listed} and so on {{")) == [TOOL]


def test_files_of_ids_are_read_back_pair_by_pair_and_prompt_by_prompt(tmp_path: Path) -> None:
    model = tiny_checkpoint(tmp_path / "tiny")
    pair = {
        "task_id": "t", "prompt_ids": [4, 5, 2, 6], "chosen_ids": [7], "rejected_ids": [8],
        "chosen_text": FORMATS["fenced_json"].render([CALL]),
    }  # fmt: skip
    rows = [
        {**pair, "id": "whole", "kind": "full"},
        {**pair, "id": "again", "kind": "full", "rejected_ids": [9]},
        {**pair, "id": "piece", "kind": "fragment"},
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    whole, piece = preferred(tmp_path, model)
    assert [message["content"] for message in whole.messages] == ["w4w5", "w6"]
    assert whole.gold == Gold((CALL,))
    assert (piece.id, piece.gold) == ("t", Gold(()))
    write_jsonl(tmp_path / "ids.jsonl", [{"id": "a", "prompt_ids": [4], "answer_ids": [5, 2]}])
    (task,) = demonstrated(tmp_path / "ids.jsonl", model)
    assert (task.id, task.messages) == ("a", ({"role": "user", "content": "w4"},))

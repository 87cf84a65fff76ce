"""One task, of our own making, as each benchmark would write it down: for tests of what reads all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

QUESTION = (
    "Please rent the small green sailing boat Marigold in the harbour of Altenrhein for three days from the "
    "second Friday of June and leave the bill with my neighbour Ottilie"
)
"""Of 28 words."""
NAME = "rent_boat"
ABOUT = (
    "Rents a boat that lies in a harbour of the lake for some days, unless somebody else was quicker or the "
    "wind is too strong, and sends the bill to whoever is named"
)
ARGUMENTS: Mapping[str, Any] = {"boat": "Marigold", "harbour": "Altenrhein", "days": 3, "bill_to": "Ottilie"}
TOLD: Mapping[str, str] = {
    "boat": "What is painted on its bow",
    "harbour": "The village that the harbour belongs to",
    "days": "How many, the first and the last included",
    "bill_to": "The person who pays in the end",
}


def _document(of_object: str, of_text: str, of_whole: str) -> dict[str, Any]:
    properties = {
        name: {"type": of_whole if name == "days" else of_text, "description": told}
        for name, told in TOLD.items()
    }
    return {
        "name": NAME,
        "description": ABOUT,
        "parameters": {"type": of_object, "properties": properties, "required": list(TOLD)},
    }


def _lines(path: Path, *rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def bfcl(data: Path) -> None:
    asked = [[{"role": "user", "content": QUESTION}]]
    row = {"id": "simple_python_0", "question": asked, "function": [_document("dict", "string", "integer")]}
    allowed = {name: [value] for name, value in ARGUMENTS.items()}
    _lines(data / "BFCL_v4_simple_python.json", row)
    gold = {"id": "simple_python_0", "ground_truth": [{NAME: allowed}]}
    _lines(data / "possible_answer" / "BFCL_v4_simple_python.json", gold)


def acebench(data: Path) -> None:
    category, task_id = "normal_preference", "normal_preference_0"
    asked = f"user: Are you there?\nsystem: Always.\nuser: {QUESTION}\n"
    row = {"id": task_id, "question": asked, "function": [_document("object", "string", "integer")]}
    _lines(data / f"data_{category}.json", row)
    gold = {"id": task_id, "ground_truth": {NAME: ARGUMENTS}}
    _lines(data / "possible_answer" / f"data_{category}.json", gold)


def apibank(data: Path) -> None:
    parameters = {
        name: {"type": "int" if name == "days" else "str", "description": told} for name, told in TOLD.items()
    }
    row = {
        "system": f"**Available Tools**\n1. Name: {NAME}\nDescription: {ABOUT}\nParameters: {parameters}\n",
        "user": f"**History**\n<user>{QUESTION}</user>\n<response>Gladly.</response>\n<user>Now.</user>\n",
        "answer": {"name": NAME, "parameters": ARGUMENTS},
    }
    (data / "some_level1.json").write_text(json.dumps([row]))


def toolalpaca(data: Path) -> None:
    told = {name: {"type": "integer" if name == "days" else "string", "description": text}
            for name, text in TOLD.items()}  # fmt: skip
    body = {"content": {"application/json": {"schema": {"properties": told, "required": list(TOLD)}}}}
    operation = {"operationId": NAME, "description": ABOUT, "requestBody": body}
    service = {
        "Name": "Boats",
        "Documentation": json.dumps({"paths": {"/boats": {"post": operation}}}),
        "Instructions": [QUESTION],
        "Golden_Answers": [[{"Action": NAME, "Action_Input": json.dumps(ARGUMENTS)}]],
    }
    (data / "eval_simulated.json").write_text(json.dumps([service]))


def sealtools(data: Path) -> None:
    parameters = {
        name: {"type": "int" if name == "days" else "str", "description": told} for name, told in TOLD.items()
    }
    document = {"api_name": NAME, "api_description": ABOUT, "required": list(TOLD), "parameters": parameters}
    calls = [{"api": NAME, "parameters": {name: str(value) for name, value in ARGUMENTS.items()}}]
    asked = f'Choose.\n\nInput:\napi_list = {[document]!r}\ntask_instruction = "{QUESTION}"\nOutput:\n'
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": repr(calls)}]
    (data / "dev.json").write_text(json.dumps([{"id": "easy-0", "conversations": turns}]))


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "bfcl": bfcl,
    "acebench": acebench,
    "apibank": apibank,
    "toolalpaca": toolalpaca,
    "sealtools": sealtools,
}
"""By suite: writes the task into an empty directory, as the whole of one category."""

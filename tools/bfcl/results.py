"""Answers as files in the official layout, which ``bfcl evaluate`` reads.

    result/<model>/non_live/BFCL_v4_simple_python_result.json
    result/<model>/live/BFCL_v4_live_simple_result.json
    result/<model>/multi_turn/BFCL_v4_multi_turn_base_result.json
    result/<model>/agentic/memory/kv/BFCL_v4_memory_kv_result.json

One JSON object a line: the id, the ``result`` (for calls, a list of ``{name: arguments as JSON text}``, the
form of a model with native function calling; else the text; of a multi-turn task one such for each step of
each turn), and what it cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from strop.tools.bfcl.files import PREFIX
from strop.tools.files import json_text, write_jsonl


def write_results(out: Path, model: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``out/result/<model>/…`` from rows of a benchmark's ``answers.jsonl``. Raises RunError."""
    by_category: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_category.setdefault(row["category"], []).append(row)
    # The official writer, too, keeps model names with slashes out of the directory tree.
    folder = out / "result" / model.replace("/", "_")
    for category, answers in by_category.items():
        path = folder / _group(category) / f"{PREFIX}_{category}_result.json"
        write_jsonl(path, [_entry(row) for row in answers])


def _group(category: str) -> str:
    """The folder of a category's file."""
    if category.startswith("memory_"):
        return f"agentic/memory/{category.removeprefix('memory_')}"
    groups = ("format_sensitivity", "multi_turn", "live")
    return next((name for name in groups if name in category), "non_live")


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    turns = [[_result(step) for step in turn] for turn in row["turns"]] if "turns" in row else None
    return {
        "id": row["id"],
        "result": _result(row) if turns is None else turns,
        "input_token_count": row["usage"]["prompt_tokens"],
        "output_token_count": row["usage"]["completion_tokens"],
        "latency": row["seconds"],
    }


def _result(step: Mapping[str, Any]) -> Any:
    if step.get("category") == "format_sensitivity":
        return step["text"]
    calls = [{call["name"]: json_text(call["arguments"])} for call in step["calls"]]
    return calls or step["content"] or ""

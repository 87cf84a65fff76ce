"""Small worlds to refine and search in: tasks, what a scripted policy says of them, and the policy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from strop.agent.answer import Draft
from strop.agent.engines.base import FinishReason
from strop.agent.engines.scripted import Entry, Script, ScriptedEngine, ScriptedTemplate
from strop.agent.policy import Policy
from strop.refine.sample import Sample, assess
from strop.tools.formats import read_calls
from strop.tools.task import Task

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Local time of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def fenced(*calls: dict[str, Any]) -> str:
    """Calls as the embedded model writes them."""
    value: Any = calls[0] if len(calls) == 1 else list(calls)
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def task(
    question: str,
    *gold: dict[str, Any],
    task_id: str | None = None,
    category: str = "simple",
    response: str | None = None,
) -> Task:
    return Task.from_json(
        {
            "id": task_id or question,
            "category": category,
            "messages": [{"role": "user", "content": question}],
            "tools": [WEATHER, CLOCK],
            "calls": list(gold),
            "response": response,
        }
    )


def policy(script: Script, **options: Any) -> Policy:
    """A policy that answers each question (the content of the last turn) as scripted."""
    return Policy(ScriptedEngine(script, **options), ScriptedTemplate())


def answered(task: Task, *calls: dict[str, Any], text: str | None = None) -> Sample:
    """A sample that writes these calls, or that text."""
    text = text or fenced(*calls)
    reading = read_calls(text)
    draft = Draft((), tuple(text.encode()), text, reading.calls, reading.content, problem=reading.problem)
    return Sample(draft.token_ids, (), assess(task, replace(draft, finish_reason=FinishReason.STOP)))


def files(out: Path) -> dict[str, bytes]:
    """What a collection says, whatever the order it was found out in."""
    found = {f.name: f.read_bytes() for f in (out / "trees").glob("[!.]*")}
    for name in ("pairs.jsonl", "settings.json"):
        found[name] = (out / name).read_bytes()
    rows = sorted((out / "deficiencies.jsonl").read_bytes().splitlines())
    return {**found, "deficiencies.jsonl": b"\n".join(rows)}


PARIS = call("get_weather", city="Paris", days=3)
ROME = call("get_weather", city="Rome", days=3)
SIMPLE = task("Weather in Paris for 3 days?", PARIS, task_id="simple")
BOTH = task("Weather in Paris and Rome for 3 days?", PARIS, ROME, task_id="dir/both", category="parallel")
NEITHER = task("Tell me a joke.", task_id="neither", category="irrelevance")
EASY = task("Time in Rome?", call("get_time", city="Rome"), task_id="easy")
TASKS = (SIMPLE, BOTH, NEITHER, EASY)

WORLD: dict[str, Entry] = {
    "Weather in Paris for 3 days?": [
        (fenced(PARIS), 3.0),
        (fenced(call("get_weather", city="Paris", days=2)), 3.0),
        (fenced(call("get_weather", city="Pariß", days=3)), 2.0),
        (fenced(call("get_time", city="Paris")), 2.0),
        ("I cannot know that.", 1.0),
        *((fenced(call("get_weather", city="Paris", days=days)), 0.4) for days in range(4, 24)),
    ],
    "Weather in Paris and Rome for 3 days?": [
        (fenced(PARIS), 6.0),
        (fenced(ROME), 2.0),
        (fenced(PARIS, call("get_weather", city="Rome")), 1.0),
        *((fenced(PARIS, call("get_weather", city="Rome", days=days)), 0.2) for days in range(4, 24)),
    ],
    "Tell me a joke.": [(fenced(call("get_time", city="here")), 2.0), ("A tool walks into a bar.", 1.0)],
    "Time in Rome?": [fenced(call("get_time", city="Rome"))],
}

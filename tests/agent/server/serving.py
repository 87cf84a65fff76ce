"""A scripted model behind the server, and a reader of its streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strop.agent.answer import Answer, Answerer, StopReason, Usage
from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import Script, ScriptedEngine, ScriptedTemplate
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.agent.refinement import ADAPTIVE, RefineSetting
from strop.agent.server.app import Served
from strop.agent.server.roster import Roster, ServedModel
from strop.refine.choice import answerer_for
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall
from strop.tools.task import Task

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
LIMA = ToolCall("get_weather", {"city": "Lima"})
OSLO = ToolCall("get_weather", {"city": "Ósló ☀"})
ONE_CALL = FORMATS["fenced_json"].render([LIMA])
TWO_CALLS = FORMATS["fenced_json"].render([LIMA, OSLO])


def engine_that_says(*texts: str, **options: Any) -> ScriptedEngine:
    """Every prompt is answered with one of `texts`."""
    return ScriptedEngine(lambda _: list(texts), **options)


def served_over(
    engine: ScriptedEngine,
    *,
    name: str = "",
    refiners: Callable[[RefineSetting], Answerer] | None = None,
    call_format: str = "fenced_json",
    **options: Any,
) -> Served:
    policy = Policy(engine, ScriptedTemplate(call_format), name="test-model")
    first = ServedModel(policy, refiners or no_refiner, name, created=1_700_000_000)
    return Served(Roster(first), **options)


def roster_over(engine: ScriptedEngine, name: str) -> Roster:
    """A model of that name which refines, and takes adapters."""

    def model(called: str) -> ServedModel:
        is_adapter = called != name
        policy = Policy(engine, ScriptedTemplate(), name=called, adapter=called if is_adapter else None)

        def refiners(setting: RefineSetting) -> Answerer:
            return answerer_for(policy, Profile(), setting)

        return ServedModel(policy, refiners, parent=name if is_adapter else None)

    async def adapt(called: str, path: Path) -> ServedModel:
        await engine.load_adapter(called, path)
        return model(called)

    return Roster(model(name), adapt)


def served(script: Script, **options: Any) -> Served:
    return served_over(ScriptedEngine(script), **options)


def no_refiner(setting: RefineSetting) -> Answerer:
    raise AssertionError(f"nothing should be refined here, was asked for {setting!r}")


@dataclass(frozen=True)
class TwoRounds:
    """Refines by asking again; says it took two rounds."""

    policy: Policy
    delay: float = 0.0
    setting: RefineSetting = ADAPTIVE

    @property
    def name(self) -> str:
        return self.policy.name

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        await asyncio.sleep(self.delay)
        answer = await self.policy.answer(task, sampling)
        return replace(answer, usage=answer.usage + Usage(10, 5, 7), rounds=2, stop_reason=StopReason.EQUAL)


def refined(engine: ScriptedEngine, *, delay: float = 0.0, **options: Any) -> Served:
    policy = Policy(engine, ScriptedTemplate(), name="test-model")
    refiners: Callable[[RefineSetting], Answerer] = lambda setting: TwoRounds(policy, delay, setting)  # noqa: E731
    return served_over(engine, refiners=refiners, **{"refine": ADAPTIVE, **options})


def ask(**fields: Any) -> dict[str, Any]:
    """A request's body."""
    return {"model": "test-model", "messages": [{"role": "user", "content": "Weather in Lima?"}], **fields}


def events(stream: bytes) -> list[Any]:
    """Objects of a stream of server-sent events; comments are left out, ``[DONE]`` stays a text."""
    data = [
        line.removeprefix("data: ") for line in stream.decode().split("\n\n") if line.startswith("data: ")
    ]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


_EMPTY: dict[str, Any] = {"content": None, "reasoning": None, "logprobs": None}


def joined(chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices of a reply whose chunks these are, with ids of calls taken out (they are random)."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk["choices"]:
            choice = choices.setdefault(piece["index"], dict(_EMPTY, calls={}))
            _add(choice, piece)
    return [without_ids(choices[index]) for index in sorted(choices)]


def _add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    delta = piece["delta"]
    if delta.get("reasoning_content") is not None:
        choice["reasoning"] = (choice["reasoning"] or "") + delta["reasoning_content"]
    if delta.get("content") is not None:
        choice["content"] = (choice["content"] or "") + delta["content"]
    for part in delta.get("tool_calls", ()):
        call = choice["calls"].setdefault(part["index"], {"name": "", "arguments": ""})
        call["id"] = part.get("id", call.get("id"))
        call["name"] += part["function"].get("name", "")
        call["arguments"] += part["function"].get("arguments", "")
    if piece["finish_reason"] is not None:
        assert "finish_reason" not in choice
        choice["finish_reason"], choice["strop"] = piece["finish_reason"], piece["strop"]
        choice["logprobs"] = piece["logprobs"]


def without_ids(choice: dict[str, Any]) -> dict[str, Any]:
    calls = [choice["calls"][index] for index in sorted(choice["calls"])]
    assert all(call["id"].startswith("call_") and len(call["id"]) == 29 for call in calls)
    assert len({call["id"] for call in calls}) == len(calls)
    return {**choice, "calls": [(call["name"], call["arguments"]) for call in calls]}


def whole(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices of a reply that was not streamed, as `joined` gives those of a stream."""
    return [
        {
            "content": choice["message"]["content"],
            "reasoning": choice["message"].get("reasoning_content"),
            "calls": [
                (call["function"]["name"], call["function"]["arguments"])
                for call in choice["message"].get("tool_calls", ())
            ],
            "finish_reason": choice["finish_reason"],
            "strop": choice["strop"],
            "logprobs": choice["logprobs"],
        }
        for choice in reply["choices"]
    ]

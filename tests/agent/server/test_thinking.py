"""Where the prompt opens a thinking block the model thinks freely, and what is forced comes after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from strop.agent.chat import Ids
from strop.agent.engines.scripted import ScriptedTemplate
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.agent.server.app import Served, create_app
from strop.agent.server.roster import Roster, ServedModel
from strop.refine.choice import answerer_for
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Message
from tests.agent.server.serving import LIMA, WEATHER, ask, engine_that_says, events, joined, whole

OPENED = b"<think>\n"
STRICT: dict[str, Any] = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
WRONG = ToolCall("get_weather", {"city": 5})


class ThinkingTemplate(ScriptedTemplate):
    """Opens a thinking block for every answer, as DeepSeek R1's does."""

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ids:
        return (*super().prompt_ids(messages, tools), *OPENED)

    def next_turn_ids(self, role: str, content: str) -> Ids:
        return (*super().next_turn_ids(role, content), *OPENED)


def thinking(*texts: str, call_format: str) -> Served:
    """A model that writes one of `texts`, in the block that its prompt has opened."""
    engine = engine_that_says(*(OPENED.decode() + text for text in texts))
    policy = Policy(engine, ThinkingTemplate(call_format), name="test-model")
    refiners = lambda setting: answerer_for(policy, Profile(), setting)  # noqa: E731
    return Served(Roster(ServedModel(policy, refiners)))


async def answered(source: Served, **fields: Any) -> dict[str, Any]:
    """The choice, which is the same streamed."""
    transport = httpx.ASGITransport(create_app(source))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        reply, stream = [
            await http.post("/v1/chat/completions", json=ask(seed=1, stream=live, **fields))
            for live in (False, True)
        ]
    assert (reply.status_code, stream.status_code) == (200, 200), reply.text
    [choice] = whole(reply.json())
    assert joined(events(stream.content)[:-1]) == [choice]
    return choice


@pytest.mark.parametrize("refine", ["off", 2])
@pytest.mark.parametrize("call_format", ["fenced_json", "hermes", "bare_json"])
@pytest.mark.parametrize("choice", ["required", NAMED])
async def test_a_call_that_is_forced_comes_after_the_thoughts(
    call_format: str, choice: Any, refine: Any
) -> None:
    call = FORMATS[call_format].render([LIMA])
    wrong = FORMATS[call_format].render([WRONG])
    source = thinking(
        call, f"Hm, {call}?", "Hm.</think>\nNo.", f"Hm {wrong}\n</think>\n\n{call}", call_format=call_format
    )
    fields = {"tools": [WEATHER], "tool_choice": choice, "strop": {"refine": refine}}
    answer = await answered(source, **fields)
    assert answer["calls"] == [(LIMA.name, json.dumps(LIMA.arguments))]
    assert (answer["content"], answer["reasoning"]) == (None, f"Hm {wrong}")


async def test_so_does_an_answer_in_json() -> None:
    source = thinking('{"n": 1}', '{"n": 2}</think>Two.', 'Two? {</think>\n\n{"n": 2}', call_format="hermes")
    answer = await answered(source, response_format={"type": "json_object"})
    assert json.loads(answer["content"]) == {"n": 2}
    assert answer["reasoning"] == "Two? {"


@pytest.mark.parametrize("call_format", ["fenced_json", "hermes", "bare_json"])
async def test_a_strict_tool_is_held_to_its_schema_after_the_thoughts_only(call_format: str) -> None:
    right, wrong = (FORMATS[call_format].render([call]) for call in (LIMA, WRONG))
    source = thinking(f"Hm.</think>\n{wrong}", f"{wrong}?</think>\n{right}", call_format=call_format)
    answer = await answered(source, tools=[STRICT])
    assert answer["calls"] == [(LIMA.name, json.dumps(LIMA.arguments))]
    assert answer["reasoning"] == f"{wrong}?"
    prose = thinking("Hm.</think>\n\nWhere?", call_format=call_format)
    assert (await answered(prose, tools=[STRICT]))["content"] == "Where?"

"""A policy renders once, stays within the context and reads what the model wrote."""

from __future__ import annotations

import pytest

from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.engines.scripted_model import END_ID, decode
from strop.agent.policy import Policy
from strop.tools.errors import UsageError
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Task

WEATHER = ToolSpec(
    "get_weather", "Current weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
)
TASK = Task("t", ({"role": "user", "content": "Weather in Lima?"},), (WEATHER,))
CALL = ToolCall("get_weather", {"city": "Lima"})


def policy_that_says(*texts: str, call_format: str = "fenced_json", context: int = 65536) -> Policy:
    engine = ScriptedEngine({"Weather in Lima?": texts}, context_length=context)
    return Policy(engine, ScriptedTemplate(call_format), name="p")


@pytest.mark.parametrize("call_format", sorted(FORMATS))
async def test_a_call_is_read_in_the_models_own_format(call_format: str) -> None:
    text = FORMATS[call_format].render([CALL])
    answer = await policy_that_says(text, call_format=call_format).answer(TASK, Sampling())
    assert answer.calls == (CALL,)
    assert (answer.content, answer.problem, answer.final.repairs) == (None, None, ())
    assert answer.final.text == text
    assert answer.final.token_ids[-1] == END_ID
    assert answer.drafts == (answer.final,)


async def test_prose_is_content_and_usage_counts_the_end_token() -> None:
    policy = policy_that_says("It rains.")
    answer = await policy.answer(TASK, Sampling())
    assert (answer.calls, answer.content) == ((), "It rains.")
    assert answer.usage.prompt_tokens == len(policy.prompt_ids(TASK))
    assert answer.usage.completion_tokens == len("It rains.") + 1


async def test_a_broken_call_is_a_problem_not_prose() -> None:
    answer = await policy_that_says('```json\n{"name": "get_weather", "arguments": {"ci').answer(
        TASK, Sampling()
    )
    assert answer.calls == ()
    assert answer.problem


async def test_samples_are_drafts_of_one_prompt() -> None:
    policy = policy_that_says("It rains.", "It is dry.")
    drafts = await policy.sample(TASK, Sampling(temperature=1.0, n=20, seed=3, logprobs=True))
    assert {draft.text for draft in drafts} == {"It rains.", "It is dry."}
    assert {draft.prompt_ids for draft in drafts} == {policy.prompt_ids(TASK)}
    assert all(len(draft.logprobs or ()) == len(draft.token_ids) for draft in drafts)
    with pytest.raises(UsageError, match="n=2"):
        await policy.answer(TASK, Sampling(n=2))


async def test_max_tokens_shrinks_to_the_context_and_a_long_prompt_is_refused() -> None:
    prompt = len(policy_that_says("").prompt_ids(TASK))
    answer = await policy_that_says("It rains.", context=prompt + 4).answer(TASK, Sampling(max_tokens=100))
    assert answer.final.text == "It r"
    with pytest.raises(UsageError, match=f"{prompt} tokens long .* takes {prompt}"):
        await policy_that_says("It rains.", context=prompt).answer(TASK, Sampling())


async def test_the_prompt_shows_the_tools_and_the_next_turn_only_appends() -> None:
    template = ScriptedTemplate()
    first = template.prompt_ids(TASK.messages, TASK.tools)
    appended = (*first, *template.answer_ids("Dry."), *template.next_turn_ids("user", "Sure?"))
    turns = [*TASK.messages, {"role": "assistant", "content": "Dry."}, {"role": "user", "content": "Sure?"}]
    assert appended == template.prompt_ids(turns, TASK.tools)
    assert '"get_weather"' in decode(first)

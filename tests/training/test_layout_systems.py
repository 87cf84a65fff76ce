"""System texts: what they say about the layout goes, everything else stays, however long they are."""

from __future__ import annotations

import json

import pytest

from strop.training.layouts.exact import items_in
from tests.training.layout_rows import TOOL, TOOLACE, WEATHER, read, turns

REST = turns(("human", "?"), ("gpt", "No."))
SCHEMA = "{'title': 'FunctionCall', 'properties': {'name': {'type': 'string'}}, 'required': ['name']}"
EXAMPLE = "<tool_call>\n{'name': <function-name>, 'arguments': <args-dict>}\n</tool_call>"


def hermes_system(system: str) -> str:
    """What is left of a system turn."""
    (task,) = read({"conversations": [*turns(("system", system)), *REST]}, "hermes")
    return str(task.messages[0]["content"]) if task.messages[0]["role"] == "system" else ""


def toolace_system(system: str) -> str:
    said = turns(("user", "?"), ("assistant", "No."))
    (task,) = read({"system": system, "conversations": said}, "toolace")
    return str(task.messages[0]["content"]) if task.messages[0]["role"] == "system" else ""


def test_only_what_is_said_about_tags_is_dropped() -> None:
    schema = "{'title': 'FunctionCall', 'properties': {'name': {'type': 'string'}}, 'required': ['name']}"
    each = "For each function call return a json object within <tool_call></tool_call> XML tags as follows:\n"
    example = "<tool_call>\n{}\n</tool_call>\n"
    system = (
        f"Be brief. Here are the available tools: <tools> {[TOOL]!r} </tools> "
        f"Use the following pydantic model json schema for each tool call you will make: {schema} "
        f"{each}{example}It is Monday."
    )
    rest = turns(("human", "?"), ("gpt", "No."))
    (task,) = read({"conversations": [*turns(("system", system)), *rest]}, "hermes")
    assert task.messages[0]["content"] == "Be brief. It is Monday."
    other = system.replace(each, "").replace(example, "")
    (task,) = read({"conversations": [*turns(("system", other)), *rest]}, "hermes")
    assert task.messages[0]["content"].endswith("It is Monday.")


@pytest.mark.parametrize("word", ["JSON", "json", "Json"])
@pytest.mark.parametrize("tools", [json.dumps([TOOL]), "[]", "", json.dumps(TOOL)])
def test_another_published_wording_is_dropped_with_or_without_tools(word: str, tools: str) -> None:
    system = (
        "You are a function calling AI model. You are provided with function signatures within <tools> "
        f"</tools> XML tags. Be brief.\n<tools>\n{tools}\n</tools>\nFor each function call return a {word} "
        f"object, with the following pydantic model {word} schema for each:\n{SCHEMA}\nEach function call "
        f"should be enclosed within <tool_call> </tool_call> XML tags.\nExample:\n{EXAMPLE}\nIt is Monday."
    )
    assert hermes_system(system) == "You are a function calling AI model. Be brief.\nIt is Monday."


def test_an_announced_list_without_tools_is_dropped() -> None:
    assert (
        hermes_system("Help. Here are the available tools: <tools> </tools> Be brief.") == "Help. Be brief."
    )
    assert hermes_system("Help. Here are the available tools:<tools> [] </tools>") == "Help."
    spoken_of = "What you can call stands within <tools></tools> tags."
    assert hermes_system(spoken_of) == spoken_of


def test_what_is_said_of_thinking_first_stays() -> None:
    think = "You must use <scratch_pad> </scratch_pad> XML tags to plan before you call as follows."
    system = (
        "Help. For each function call return a JSON object within <tool_call> </tool_call> XML tags. "
        f"{think}\nExample:\n<scratch_pad>\nGoal: x\n</scratch_pad>\n{EXAMPLE}\nIt is Monday."
    )
    assert hermes_system(system) == f"Help. {think}\nIt is Monday."


def test_toolaces_instructions_are_dropped_where_no_tool_is_offered() -> None:
    listed = json.dumps([WEATHER], ensure_ascii=False)
    assert listed in TOOLACE["system"]
    for none in ("[]", "[ ]", "[]. "):
        left = toolace_system(str(TOOLACE["system"]).replace(listed, none))
        assert left == "You are an expert in composing functions.\nToday is a Monday."
    plain = "You may answer [] or a list of functions."
    assert toolace_system(plain) == plain


def test_only_toolaces_own_sentences_are_dropped() -> None:
    listed = json.dumps([WEATHER])
    system = (
        f"Be kind. Here is a list of functions in JSON format that you can invoke: {listed}. "
        "Be brief; should you decide to return the function call(s), be quick. Put it in the format of "
        "[f(a=b, c=d...), g(e)] Be calm.\nv1.5 is out. You should only return the function call in tools "
        "call sections. Be good."
    )
    assert toolace_system(system) == (
        "Be kind.\n. Be brief; should you decide to return the function call(s), be quick. Be calm.\n"
        "v1.5 is out. Be good."
    )


N = 20_000
LONG = {
    "forms": "in the format of [" * N,
    "forms with openings": "in the format of [(" * N,
    "forms that end late": "in the format of [(]" * N + ")]",
    "no full stop": "word " * 10 * N,
    "announcements": "list of functions in JSON format " * N,
    "announcements before space": ("list of functions in JSON format " + " " * 200) * (N // 10),
    "sentences": "return the function call in tool call sections " * N,
    "brackets": "[ " * N,
    "lists": "<tools>[" * N,
    "announced lists": "Here are the available tools: <tools>" * N,
    "each call": "For each function call return a json object " * N,
    "each call, closed once": "For each function call return a json object " * N + "</tool_call>",
    "schemas": "Use the following pydantic model json schema {" * N,
    "schemas without an object": "Use the following pydantic model json schema " * N,
    "tools": "<tools>\n" * N,
    "space": "You are provided with function signatures within <tools>" + " " * 10 * N,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_long_system_texts_take_linear_time(text: str) -> None:
    """The test's own timeout is the bound: time that grew as the square would be minutes or hours."""
    assert hermes_system(f"{text} Be brief.").endswith("Be brief.")
    listed = json.dumps([WEATHER])
    for system in (f"{text}\nBe brief.", f"{text}\n{listed}\nBe brief.", f"{listed}\n{text}\nBe brief."):
        assert toolace_system(system).endswith("Be brief.")


@pytest.mark.timeout(20)
def test_long_lists_and_results_take_linear_time() -> None:
    assert len(items_in(f"[{'1, ' * 10 * N}1]")) == 10 * N + 1
    listed = "\n".join([json.dumps(TOOL)] * (N // 10))
    said = turns(("system", f"<tools>{listed}</tools>"), ("human", "?"), ("tool", "<tool_response>" * N))
    (task,) = read({"conversations": [*said, *turns(("gpt", "No."))]}, "hermes")
    assert len(task.tools) == N // 10
    assert task.messages[-1]["content"] == "<tool_response>" * N

"""Prompts are the template's own ids, nothing in them can be forged, and later turns only append."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from strop.agent.chat import ChatTemplate
from strop.agent.turns import plain_messages, tools_text
from strop.tools.errors import ModelError, UsageError
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Message

SPECIALS = ["<|end|>", "<|turn|>", "<|endless|>"]
PLAIN = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
WITH_TOOLS = (
    "{% if tools %}<|turn|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
    'Write <tool_call>{"name": …}</tool_call>.<|end|>\n{% endif %}'
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}"
    "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
TOOL = ToolSpec("find", "Find <|end|> it.", {"type": "object", "properties": {"what": {"type": "string"}}})
CALL = {"function": {"name": "find", "arguments": '{"what": "é"}'}}

contents = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.sampled_from(SPECIALS))
).map("".join)
roles = st.sampled_from(["user", "tool", "system"])


def byte_tokenizer(template: str | None) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIALS[1:]})
    tokenizer.chat_template = template
    return tokenizer


TEMPLATE = ChatTemplate(byte_tokenizer(PLAIN))
END = TEMPLATE.end_ids[0]


def test_half_a_character_is_a_question_mark_and_two_halves_are_one() -> None:
    ids = TEMPLATE.prompt_ids([{"role": "user", "content": "a \ud83d b \ud83d\ude00 é"}], ())
    assert "a \ufffd b \U0001f600 é" in TEMPLATE.decode(ids)
    tool = ToolSpec("find", "half \ud83d", {"type": "object", "properties": {}})
    assert "half \ufffd" in TEMPLATE.decode(TEMPLATE.prompt_ids([{"role": "user", "content": "?"}], (tool,)))
    assert TEMPLATE.decode(TEMPLATE.encode("half \udc00")) == "half \ufffd"


@given(st.lists(st.tuples(roles, contents), min_size=1, max_size=3))
@settings(deadline=None)
def test_contents_stay_text_and_special_ids_are_only_the_templates(turns: list[tuple[str, str]]) -> None:
    ids = TEMPLATE.prompt_ids([{"role": role, "content": content} for role, content in turns], ())
    assert ids.count(END) == len(turns)
    rendered = "".join(f"<|turn|>{role}\n{content}<|end|>\n" for role, content in turns)
    assert TEMPLATE.decode(ids, skip_special=False) == rendered + "<|turn|>assistant\n"


@given(contents, contents, roles, contents)
@settings(deadline=None)
def test_a_later_turn_appends_to_what_was_rendered(
    question: str, answer: str, role: str, follow_up: str
) -> None:
    first = [{"role": "user", "content": question}]
    whole = [*first, {"role": "assistant", "content": answer}, {"role": role, "content": follow_up}]
    appended = TEMPLATE.prompt_ids(first, ()) + TEMPLATE.answer_ids(answer)
    assert appended + TEMPLATE.next_turn_ids(role, follow_up) == TEMPLATE.prompt_ids(whole, ())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=40))
@settings(deadline=None)
def test_ordinary_conversations_get_the_tokenizers_own_ids(content: str) -> None:
    tokenizer = byte_tokenizer(WITH_TOOLS)
    harmless = ToolSpec("find", "Find it.", TOOL.parameters)
    messages = [{"role": "user", "content": content}]
    own = tokenizer.apply_chat_template(
        messages, tools=[harmless.to_openai()], add_generation_prompt=True, return_dict=False
    )
    assert ChatTemplate(tokenizer).prompt_ids(messages, [harmless]) == tuple(own)


@given(contents)
def test_plain_text_is_reversible(text: str) -> None:
    assert TEMPLATE.decode(TEMPLATE.encode(text)) == text
    assert max(TEMPLATE.encode(text), default=0) < 256


def test_tools_without_template_support_go_into_the_system_message() -> None:
    messages: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    text = TEMPLATE.decode(TEMPLATE.prompt_ids(messages, [TOOL]), skip_special=False)
    assert not TEMPLATE.shows_tools
    assert text.startswith(f"<|turn|>system\nBe brief.\n\n{tools_text([TOOL], 'fenced_json')}<|end|>\n")
    assert FORMATS["fenced_json"].render([ToolCall("function_name", {"argument": "value"})]) in text


def test_a_template_that_shows_tools_and_calls_renders_them_itself() -> None:
    template = ChatTemplate(byte_tokenizer(WITH_TOOLS))
    calling: list[Message] = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
    ]
    ids = template.prompt_ids(calling, [TOOL])
    text = template.decode(ids, skip_special=False)
    assert (template.shows_tools, template.call_format) == (True, "hermes")
    assert ids.count(END) == 3  # the one spelled in the tool's description is text
    assert '"description": "Find <|end|> it."' in text
    assert '<tool_call>\n{"name": "find", "arguments": {"what": "é"}}\n</tool_call><|end|>' in text


@pytest.mark.parametrize("template", [PLAIN, WITH_TOOLS])
def test_calls_in_another_form_than_the_templates_are_content(template: str) -> None:
    chat = ChatTemplate(byte_tokenizer(template), call_format="fenced_json")
    calling: list[Message] = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "So:", "tool_calls": [CALL]},
    ]
    text = chat.decode(chat.prompt_ids(calling, ()), skip_special=False)
    assert f"So:\n{FORMATS['fenced_json'].render([ToolCall('find', {'what': 'é'})])}<|end|>" in text


def test_contents_in_parts_are_joined_and_developers_are_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert plain_messages([{"role": "developer", "content": parts}], "hermes") == [
        {"role": "system", "content": "ab"}
    ]


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "wizard", "content": ""}, "message 0: unknown role 'wizard'"),
        ({"role": "user", "content": 3}, "message 0: content must be text, got int"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "part of type 'image_url'"),
        ({"role": "assistant", "tool_calls": "f()"}, "tool_calls must be a list"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 3}}]}, "message 0"),
    ],
)
def test_messages_that_cannot_be_rendered_are_named(message: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        TEMPLATE.prompt_ids([message], ())


@pytest.mark.parametrize("arguments", ["{", "[]", '{"city": "Li', "[" * 50_000])
@pytest.mark.parametrize("template", [PLAIN, WITH_TOOLS])
def test_a_call_that_broke_off_comes_back_as_it_was_written(template: str, arguments: str) -> None:
    chat = ChatTemplate(byte_tokenizer(template))
    broken = {
        "role": "assistant",
        "content": "So:",
        "tool_calls": [CALL | {"function": CALL["function"] | {"arguments": arguments}}, CALL],
    }
    told = {"role": "tool", "tool_call_id": "1", "content": "No such call."}
    text = chat.decode(
        chat.prompt_ids([{"role": "user", "content": "?"}, broken, told], ()), skip_special=False
    )
    assert f'So:\n{{"name": "find", "arguments": {arguments}' in text
    assert '"what"' in text  # the other call is there, too


def test_a_name_that_a_form_cannot_write_is_written_in_one_that_can() -> None:
    call = {"function": {"name": "get-weather", "arguments": '{"from": "Lima"}'}}
    [turn] = plain_messages([{"role": "assistant", "tool_calls": [call]}], "pythonic")
    assert turn["content"] == FORMATS["bare_json"].render([ToolCall("get-weather", {"from": "Lima"})])


MISTRAL = (
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{% if m.tool_call_id|length != 9 %}{{ raise_exception('ids of length 9') }}{% endif %}"
    "[TOOL_RESULTS]{{ m.tool_call_id }} {{ m.content }}"
    "{% elif m.tool_calls %}[TOOL_CALLS]{% for c in m.tool_calls %}"
    "{% if c.id is undefined or c.id|length != 9 %}{{ raise_exception('ids of length 9') }}{% endif %}"
    "{{ c.id }} {{ c.function | tojson }}{% endfor %}<|end|>"
    "{% elif m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
)


def test_calls_have_such_ids_as_their_template_demands() -> None:
    chat = ChatTemplate(byte_tokenizer(MISTRAL), call_format="mistral")
    for call_id in ("call_" + "a" * 24, "abcdefghi", ""):
        messages: list[Message] = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL | {"id": call_id}]},
            {"role": "tool", "tool_call_id": call_id or "x", "content": "rain"},
            {"role": "assistant", "content": "Rain."},
            {"role": "user", "content": "And now?"},
        ]
        text = chat.decode(chat.prompt_ids(messages, ()), skip_special=False)
        made, _, answered = text.partition("[TOOL_CALLS]")[2].partition("<|end|>[TOOL_RESULTS]")
        assert made.split()[0].isalnum()
        assert not call_id or made.split()[0] == answered.split()[0]
        assert call_id != "abcdefghi" or made.startswith("abcdefghi ")


def test_a_templates_own_refusal_is_a_usage_error() -> None:
    refusing = (
        PLAIN + "{% if messages[-1].role == 'system' %}{{ raise_exception('no system last') }}{% endif %}"
    )
    with pytest.raises(UsageError, match="no system last"):
        ChatTemplate(byte_tokenizer(refusing)).prompt_ids([{"role": "system", "content": ""}], ())


@pytest.mark.parametrize("text", ["[]", '{"eos_token_id": "x"}', '{"eos_token_id": [1, null]}', "{"])
def test_settings_that_name_no_end_are_refused(text: str, tmp_path: Path) -> None:
    byte_tokenizer(PLAIN).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        ChatTemplate.load(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    assert {1, 2} <= set(ChatTemplate.load(tmp_path).end_ids)


def test_tokenizers_that_cannot_chat_are_refused() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        ChatTemplate(byte_tokenizer(None))
    with pytest.raises(UsageError, match="unknown call format 'xml'"):
        ChatTemplate(byte_tokenizer(PLAIN), call_format="xml")
    with pytest.raises(ModelError, match="does not render an assistant's turn"):
        ChatTemplate(byte_tokenizer("{{ messages[0].content }}"))
    assert TEMPLATE.token_id("<|endless|>") is not None
    assert TEMPLATE.token_id("nothing") is None

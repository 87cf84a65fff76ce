"""Conversations as token ids.

A prompt is rendered once through the model's own chat template; every later turn is appended to the ids,
never rendered again with what came before, so that an engine's prefix cache holds and what is trained is
what was served.

Text that comes from outside can spell the control tokens of a template (``<|im_end|>``), but never *be*
them. Before rendering, each spelling of a special token inside messages and tools is replaced by one
private-use character that occurs nowhere else; after rendering, the text is cut at the special tokens the
template itself wrote, the characters are put back, and each piece in between is encoded as plain text.
Where nothing spells a special token, the ids are those of ``tokenizer.apply_chat_template``.

Not covered: templates that rewrite earlier turns once later ones follow (some drop reasoning). There the
appended prompt differs from a fresh rendering; it is still what the model saw.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from strop.agent.turns import plain_messages, with_ids, with_tools_in_system
from strop.tools.errors import ModelError, UsageError
from strop.tools.formats import FORMATS, format_of_template
from strop.tools.spec import ToolSpec
from strop.tools.task import Message

Ids = tuple[int, ...]

_ANSWER = "StropAnswerStandsHere"
"""Stands for an assistant's answer while the template is asked what follows it."""
_PROBE = ToolSpec("strop_probe", "Probe.", {"type": "object", "properties": {}})
"""Shown to a template to see whether it shows tools at all."""
_ASKING: list[dict[str, Any]] = [{"role": "user", "content": "?"}]
_ANSWERED = [*_ASKING, {"role": "assistant", "content": _ANSWER}]
_ID = "strop0000"
"""Of a call, as Mistral's templates demand it: nine letters and digits."""


class Template(Protocol):
    """How one model's conversations become ids: `ChatTemplate`, or `ScriptedTemplate` for tests."""

    @property
    def call_format(self) -> str:
        """Key of `strop.tools.formats.FORMATS`: the form this model writes calls in."""
        ...

    @property
    def end_ids(self) -> Ids:
        """Ids that end a turn; the first is the one `answer_ids` closes with."""
        ...

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ids:
        """The conversation up to where the assistant begins to write. Raises UsageError for a bad message."""
        ...

    def next_turn_ids(self, role: str, content: str) -> Ids:
        """What follows a finished assistant turn (its end id belongs to that turn): the new turn, and the
        beginning of the assistant's next one."""
        ...

    def answer_ids(self, text: str) -> Ids:
        """An assistant turn as it is trained: `text` and the end id."""
        ...

    def encode(self, text: str) -> Ids:
        """Plain text as ids; spelled special tokens stay text."""
        ...

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Ids as text, with or without special tokens."""
        ...

    def token_id(self, text: str) -> int | None:
        """The id of the special or added token spelled `text`; None where there is none."""
        ...


class ChatTemplate:
    """A transformers tokenizer with its chat template."""

    def __init__(self, tokenizer: Any, *, call_format: str | None = None, end_ids: Sequence[int] = ()):
        """`tokenizer` is a fast transformers tokenizer; `end_ids` are ended with besides its own.

        Raises ModelError where there is no chat template or end token, UsageError for an unknown format.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError("the tokenizer has no chat template: take an instruction-tuned checkpoint")
        self._tokenizer = tokenizer
        native = format_of_template(_template_source(tokenizer))
        self.call_format = call_format or native
        """Key of `FORMATS`."""
        if self.call_format not in FORMATS:
            raise UsageError(f"unknown call format {self.call_format!r} (known: {', '.join(FORMATS)})")
        self._added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
        self._special = _special_texts(tokenizer)
        self._split = (
            re.compile("(" + "|".join(map(re.escape, self._special)) + ")") if self._special else None
        )
        shows_calls = self._shows(_calling())
        self._wants_ids = not shows_calls and self._shows(_calling(_ID))
        self._native_calls = self.call_format == native and (shows_calls or self._wants_ids)
        self._shows_tools = self._shows(_ASKING, [_PROBE.to_openai()])
        self.end_ids = self._find_end_ids(end_ids)
        """Ids that end a turn."""

    @classmethod
    def load(cls, checkpoint: Path, *, call_format: str | None = None) -> Self:
        """Read tokenizer and template of a checkpoint directory; without `call_format`, the template's own.

        Raises ModelError where they cannot be read.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(checkpoint))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{checkpoint}: no readable tokenizer ({_first_line(error)})") from error
        return cls(tokenizer, call_format=call_format, end_ids=_generation_end_ids(checkpoint))

    @property
    def shows_tools(self) -> bool:
        """Whether the template renders tools itself; if not, they go into the system message."""
        return self._shows_tools

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Ids:
        turns = plain_messages(messages, self.call_format, keep_calls=self._native_calls)
        turns = [with_ids(turn, wanted=self._wants_ids) for turn in turns]
        if tools and not self._shows_tools:
            turns = with_tools_in_system(turns, tools, self.call_format)
            tools = ()
        return self._encode_rendered(*self._render(turns, [tool.to_openai() for tool in tools]))

    def next_turn_ids(self, role: str, content: str) -> Ids:
        turns = plain_messages([*_ANSWERED, {"role": role, "content": content}], self.call_format)
        text, marks = self._render(turns, [])
        ids = self._encode_rendered(_after_answer(text), marks)
        return ids[1:] if ids[0] in self.end_ids else ids

    def answer_ids(self, text: str) -> Ids:
        return (*self.encode(text), self.end_ids[0])

    def encode(self, text: str) -> Ids:
        text = whole_characters(text)
        ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return tuple(ids)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        text = self._tokenizer.decode(
            list(ids), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
        )
        return str(text)

    def token_id(self, text: str) -> int | None:
        return self._added.get(text)

    def _render(self, turns: list[dict[str, Any]], tools: list[dict[str, Any]]) -> tuple[str, dict[str, str]]:
        """The template's text with spelled special tokens replaced, and what each replacement stands for."""
        turns, tools = _map_strings([turns, tools], whole_characters)
        marks = self._marks([turns, tools])
        if marks and self._split is not None:
            split = self._split
            by_text = {text: mark for mark, text in marks.items()}
            turns, tools = _map_strings([turns, tools], lambda s: split.sub(lambda m: by_text[m[0]], s))
        return self._apply(turns, tools), marks

    def _apply(self, turns: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(
                turns, tools=tools or None, add_generation_prompt=True, tokenize=False
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise UsageError(f"the model's chat template refuses this conversation: {error}") from error
        return str(text)

    def _marks(self, values: Any) -> dict[str, str]:
        """One unused private-use character for every special token spelled somewhere in `values`."""
        if self._split is None:
            return {}
        strings = list(_strings(values))
        spelled = sorted({found for string in strings for found in self._split.findall(string)})
        if not spelled:
            return {}
        taken = {char for string in strings for char in string}
        free = (chr(code) for code in range(0xF0000, 0xFFFFE) if chr(code) not in taken)
        return dict(zip(free, spelled, strict=False))

    def _encode_rendered(self, text: str, marks: Mapping[str, str]) -> Ids:
        if not marks or self._split is None:
            return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        ids: list[int] = []
        for piece in filter(None, self._split.split(text)):
            if piece in self._special:
                ids.append(self._added[piece])
            else:
                ids.extend(self.encode("".join(marks.get(char, char) for char in piece)))
        return tuple(ids)

    def _shows(self, turns: list[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> bool:
        """Whether the probe's name appears once the template has rendered it."""
        try:
            return _PROBE.name in self._apply(turns, list(tools))
        except UsageError:
            return False

    def _find_end_ids(self, more: Sequence[int]) -> Ids:
        """The id the template closes an answer with first, then the tokenizer's and the model's own."""
        rendered = self._apply([*_ANSWERED, *_ASKING], [])
        closing = self._encode_rendered(_after_answer(rendered), {})[0]
        found = [closing] if closing in self._special.values() else []
        found += [index for index in (self._tokenizer.eos_token_id, *more) if index is not None]
        if not found:
            raise ModelError("neither the chat template nor the tokenizer says how a turn ends")
        return tuple(dict.fromkeys(found))


def whole_characters(text: str) -> str:
    """`text` with halves of surrogate pairs, which no tokenizer takes, as U+FFFD; two that fit become one."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _calling(call_id: str | None = None) -> list[dict[str, Any]]:
    """A conversation that ends in a call, shown to a template to see whether it writes calls itself."""
    call: dict[str, Any] = {"type": "function", "function": {"name": _PROBE.name, "arguments": {}}}
    call |= {} if call_id is None else {"id": call_id}
    return [*_ASKING, {"role": "assistant", "content": "", "tool_calls": [call]}]


def _template_source(tokenizer: Any) -> str:
    source = tokenizer.chat_template
    if isinstance(source, Mapping):  # named templates: the tool one is what a tool prompt would use
        source = source.get("tool_use") or source.get("default") or next(iter(source.values()))
    return str(source)


def _special_texts(tokenizer: Any) -> dict[str, int]:
    """Spelling → id of every special token, longest spelling first."""
    tokens = {t.content: index for index, t in tokenizer.added_tokens_decoder.items() if t.special}
    return dict(sorted(tokens.items(), key=lambda item: -len(item[0])))


def _generation_end_ids(checkpoint: Path) -> Ids:
    file = Path(checkpoint) / "generation_config.json"
    try:
        settings = json.loads(file.read_text())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{file} holds no object")
    eos = settings.get("eos_token_id")
    ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
    if not all(type(one) is int for one in ids):
        raise ModelError(f"{file}: no ids of tokens that end an answer: {str(eos)[:80]}")
    return tuple(ids)


def _after_answer(text: str) -> str:
    _, found, tail = text.partition(_ANSWER)
    if not found or not tail:
        raise ModelError("the chat template does not render an assistant's turn")
    return tail


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _strings(item)


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map_strings(key, change): _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_strings(item, change) for item in value]
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

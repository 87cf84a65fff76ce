"""BFCL's format-sensitivity tasks: 200 single-turn tasks, each asked in 26 ways.

The tools and the form of the answer are told in the prompt, in the benchmark's own words (constants of the
installed package). Varied are the form calls are to be written in, whether in tags, how the tools are
documented, and the style of the prompt. The score is how much accuracy differs between the ways; it is no
part of the overall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from strop.tools.bfcl.answers import FORMS, UnreadableError, read_answer
from strop.tools.bfcl.checker import check
from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.files import INSTALL, question_file
from strop.tools.bfcl.overall import FORMAT_SENSITIVITY
from strop.tools.bfcl.single import BfclCase
from strop.tools.errors import DataError
from strop.tools.files import read_json
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict


@dataclass(frozen=True, slots=True)
class Variation:
    """One way of asking."""

    form: str
    """What calls are to be written in; one of `FORMS`."""
    tagged: bool
    """Whether between ``<TOOLCALL>`` tags."""
    documents: str
    """How tools are documented: ``python``, ``xml`` or ``json``."""
    layout: str = "plaintext"
    style: str = "classic"

    def __str__(self) -> str:
        """As the benchmark writes it in ids."""
        return (
            f"ret_fmt={self.form}&tool_call_tag={self.tagged}&func_doc_fmt={self.documents}"
            f"&prompt_fmt={self.layout}&style={self.style}"
        )


VARIATIONS: tuple[Variation, ...] = (
    *(
        Variation(form, tagged, how)
        for form, tagged, how in product(FORMS, (True, False), ("python", "xml", "json"))
    ),
    Variation("python", False, "json", layout="markdown"),
    Variation("python", False, "json", style="experimental"),
)


@dataclass(frozen=True, slots=True)
class VariedCase:
    """A task asked in one way; judged by the very text of the answer."""

    task: Task
    base: BfclCase
    variation: Variation

    def fault(self, text: str) -> Fault | None:
        """What the official checker finds wrong with an answer."""
        try:
            calls = read_answer(text, self.variation.form, self.variation.tagged)
        except UnreadableError as error:
            return Fault(error.error_type, "", str(error))
        return check(self.base.task.id, self.base.functions, calls, self.base.possible)

    def score_text(self, text: str) -> Verdict:
        """The official verdict on an answer's text."""
        fault = self.fault(text)
        if fault is None:
            return Verdict.right()
        if fault.error_type.startswith("ast_decoder:"):
            return Verdict.wrong(ErrorKind.UNPARSABLE, f"{fault.detail} [{fault.error_type}]")
        return fault.verdict()

    def score(
        self, calls: Sequence[ToolCall], content: str | None = None, problem: str | None = None
    ) -> Verdict:
        """Not used: what counts is the text."""
        del calls, problem
        return self.score_text(content or "")

    def gold_lines(self) -> Sequence[str]:
        return self.base.gold_lines()


def vary(cases: Mapping[str, BfclCase], directory: Path) -> Iterator[VariedCase]:
    """The tasks that the benchmark names, each in every variation, in its order. Raises DataError."""
    named = read_json(question_file(directory, FORMAT_SENSITIVITY))
    wanted = {category: frozenset(ids) for category, ids in named.items()}
    chosen = [
        case
        for category, ids in wanted.items()
        for case in cases.values()
        if case.task.category == category and case.task.id in ids
    ]
    for number, (case, variation) in enumerate(product(chosen, VARIATIONS)):
        yield VariedCase(_task(case, variation, number), case, variation)


def _task(case: BfclCase, variation: Variation, number: int) -> Task:
    told = system_prompt(variation, case.functions)
    messages = case.task.messages
    if messages[0]["role"] == "system":
        first = {"role": "system", "content": f"{told}\n\n{messages[0]['content']}"}
        messages = (first, *messages[1:])
    else:
        messages = ({"role": "system", "content": told}, *messages)
    name = f"{FORMAT_SENSITIVITY}_{number}:{variation}:{case.task.id}"
    return replace(case.task, id=name, messages=messages, tools=(), category=FORMAT_SENSITIVITY)


def system_prompt(variation: Variation, functions: Sequence[Mapping[str, Any]]) -> str:
    """What the model is told. Raises DataError where the package with the wording is not installed."""
    words = _words()
    style = words.PROMPT_STYLE_TEMPLATES[variation.style]
    told = style["tool_call_with_tag" if variation.tagged else "tool_call_no_tag"]
    text: str = words.PROMPT_TEMPLATE_MAPPING[variation.layout].format(
        persona=style["persona"],
        task=style["task"],
        tool_call_format=told.format(
            output_format=words.OUTPUT_FORMAT_MAPPING[variation.form],
            param_types=words.PARAM_TYPE_MAPPING[variation.form],
        ),
        multiturn_behavior=style["multiturn_behavior"],
        available_tools=style["available_tools"].format(
            format=variation.documents, functions=_DOCUMENTS[variation.documents](functions)
        ),
    )
    return text


def _json_documents(functions: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(list(functions), indent=4)


def _python_documents(functions: Sequence[Mapping[str, Any]]) -> str:
    """Each tool as a comment with its name and a docstring."""
    blocks = []
    for function in functions:
        lines = [f"# Function: {function['name']}", '    """', f"    {function.get('description', '')}", ""]
        properties = function["parameters"].get("properties", {})
        lines += ["    Args:"] if properties else []
        for name, schema in properties.items():
            lines += _python_lines(name, schema, 8)
        blocks.append("\n".join([*lines, '    """', *5 * [""]]))
    return "\n".join(blocks).removesuffix("\n")


def _python_lines(name: str, schema: Mapping[str, Any], indent: int) -> Iterator[str]:
    default = f", default={schema['default']!r}" if "default" in schema else ""
    yield f"{' ' * indent}{name} ({_python_type(schema)}{default}): {_described(schema)}"
    for inner, inner_schema in schema.get("properties", {}).items():
        yield from _python_lines(inner, inner_schema, indent + 4)


def _python_type(schema: Mapping[str, Any]) -> str:
    kind: str = schema.get("type", "string")
    if kind in ("array", "list", "tuple") and "items" in schema:
        return f"list[{_python_type(schema['items'])}]"
    if kind in ("object", "dict") and "additionalProperties" in schema:
        return f"dict[str, {_python_type(schema['additionalProperties'])}]"
    return _PYTHON_TYPES.get(kind, kind)


_PYTHON_TYPES = {"string": "str", "number": "float", "integer": "int", "boolean": "bool", "object": "dict"}


def _xml_documents(functions: Sequence[Mapping[str, Any]]) -> str:
    """Each tool as an element; nothing in it is escaped, and attributes have no commas."""
    blocks = []
    for function in functions:
        parameters = function["parameters"]
        inside = "".join(
            _xml_parameter(name, schema, parameters.get("required"), 4)
            for name, schema in parameters.get("properties", {}).items()
        )
        blocks.append(
            f'<function name="{function["name"]}">\n'
            f"  <desc>{function.get('description', '')}</desc>\n"
            f"  <params>\n{inside}  </params>\n</function>\n"
        )
    return "\n".join(blocks)


def _xml_parameter(name: str, schema: Mapping[str, Any], required: Sequence[str] | None, indent: int) -> str:
    space = " " * indent
    kind = schema.get("type", "string")
    if "type" in schema.get("items", {}):
        kind = f"{kind}[{schema['items']['type']}]"
    elif "additionalProperties" in schema:
        kind = f"{kind}[{schema['additionalProperties'].get('type', 'string')}]"
    needed = "true" if required is None or name in required else "false"
    default = f' default="{schema["default"]!r}"' if "default" in schema else ""
    attributes = f'name="{name}" type="{kind}" required="{needed}"{default}'.replace(",", "")
    inner = "".join(
        _xml_parameter(child, child_schema, schema.get("required"), indent + 4)
        for child, child_schema in schema.get("properties", {}).items()
    )
    nested = f"{space}  <params>\n{inner}{space}  </params>\n" if "properties" in schema else ""
    return (
        f"{space}<param {attributes}>\n{space}  <desc>{_described(schema)}</desc>\n{nested}{space}</param>\n"
    )


def _described(schema: Mapping[str, Any]) -> str:
    text = schema.get("description", "")
    return f"{text} Enum values: {schema['enum']}." if "enum" in schema else text


_DOCUMENTS = {"json": _json_documents, "python": _python_documents, "xml": _xml_documents}


@cache
def _words() -> Any:
    """The benchmark's wording: a module of constants."""
    try:
        return import_module("bfcl_eval.constants.default_prompts")
    except ModuleNotFoundError as error:
        raise DataError(f"the wording of these prompts comes with bfcl-eval: {INSTALL} ({error})") from None

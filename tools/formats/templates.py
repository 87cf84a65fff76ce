"""Which call format a chat template asks the model for."""

from __future__ import annotations

import re

_QUOTE = r"""\\?["']"""
_NAME_AND_ARGUMENTS = rf"{_QUOTE}name{_QUOTE}\s*:.{{0,80}}?{_QUOTE}(?:parameters|arguments){_QUOTE}\s*:"
_SIGNS = (
    ("functiongemma", re.compile(r"<start_function_call>")),
    ("deepseek", re.compile(r"<｜tool▁calls▁begin｜>")),
    ("mistral", re.compile(r"\[TOOL_CALLS\]")),
    ("granite", re.compile(r"<\|tool_call\|>")),
    ("hermes", re.compile(r"<tool_call>")),
    ("pythonic", re.compile(r"\[\s*func\w*\(", re.IGNORECASE)),
    ("fenced_json", re.compile(r"```json")),
    ("llama3_json", re.compile(r"<\|python_tag\|>|Environment: ipython")),
    ("bare_json", re.compile(_NAME_AND_ARGUMENTS, re.DOTALL)),
)
"""What gives each format away, the most telling first."""


def format_of_template(template: str) -> str:
    """Name of the format that the Jinja chat `template` asks for; ``fenced_json`` where it asks for none.

    What a template asks for is not always what the model writes: `strop doctor` looks at both.
    """
    return next((name for name, sign in _SIGNS if sign.search(template)), "fenced_json")

"""Which call format a chat template asks the model for."""

from __future__ import annotations

import re

_SIGNS = (
    ("hermes", re.compile(r"<tool_call>")),
    ("pythonic", re.compile(r"\[\s*func_?(?:tion_?)?(?:name)?1?\w*\(", re.IGNORECASE)),
    ("fenced_json", re.compile(r"```json|```\\njson")),
    (
        "bare_json",
        re.compile(
            r"""\\?["']name\\?["']\s*:.{0,80}?\\?["'](?:parameters|arguments)\\?["']\s*:""", re.DOTALL
        ),
    ),
)


def format_of_template(template: str) -> str:
    """Name of the format that the Jinja chat `template` asks for; ``fenced_json`` where it asks for none.

    What a template asks for is not always what the model writes: `strop doctor` looks at both.
    """
    return next((name for name, sign in _SIGNS if sign.search(template)), "fenced_json")

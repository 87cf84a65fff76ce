"""Call formats: how calls are written as text, and read back from what models really write.

`FORMATS` render exactly; `read_calls` reads tolerantly and records what it repaired; `StreamReader` does
so while the text is still growing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from strop.tools.formats.base import BrokenCall, CallFormat, Reading
from strop.tools.formats.early import to_text
from strop.tools.formats.functiongemma import FunctionGemma
from strop.tools.formats.jsons import (
    BareJson,
    DeepSeek,
    FencedJson,
    Granite,
    Hermes,
    Llama3Json,
    Mistral,
    XLam,
)
from strop.tools.formats.names import settle_names
from strop.tools.formats.pythonic import Pythonic
from strop.tools.formats.reading import READING_ORDER
from strop.tools.formats.stream import (
    DEFAULT_FORMAT,
    ArgumentText,
    CallBegun,
    Content,
    Piece,
    Reasoning,
    StreamReader,
    read_calls,
)
from strop.tools.formats.templates import format_of_template
from strop.tools.formats.thoughts import Thoughts

_ALL: tuple[CallFormat, ...] = (
    FencedJson(),
    Hermes(),
    BareJson(),
    Pythonic(),
    XLam(),
    Llama3Json(),
    Mistral(),
    Granite(),
    DeepSeek(),
    FunctionGemma(),
)

FORMATS: Mapping[str, CallFormat] = MappingProxyType({one.name: one for one in _ALL})
"""Every call format by name."""

__all__ = [
    "DEFAULT_FORMAT",
    "FORMATS",
    "READING_ORDER",
    "ArgumentText",
    "BrokenCall",
    "CallBegun",
    "CallFormat",
    "Content",
    "Piece",
    "Reading",
    "Reasoning",
    "StreamReader",
    "Thoughts",
    "format_of_template",
    "read_calls",
    "settle_names",
    "to_text",
]

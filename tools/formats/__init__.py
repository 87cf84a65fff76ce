"""Call formats: how calls are written as text, and read back from what models really write.

`FORMATS` render exactly; `read_calls` reads tolerantly and records what it repaired; `StreamReader` does
so while the text is still growing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from strop.tools.formats.base import CallFormat, Reading
from strop.tools.formats.jsons import BareJson, FencedJson, Hermes
from strop.tools.formats.names import settle_names
from strop.tools.formats.pythonic import Pythonic
from strop.tools.formats.reading import READING_ORDER, read_calls
from strop.tools.formats.stream import StreamReader
from strop.tools.formats.templates import format_of_template

_ALL: tuple[CallFormat, ...] = (FencedJson(), Hermes(), BareJson(), Pythonic())

FORMATS: Mapping[str, CallFormat] = MappingProxyType({one.name: one for one in _ALL})
"""Every call format by name."""

__all__ = [
    "FORMATS",
    "READING_ORDER",
    "CallFormat",
    "Reading",
    "StreamReader",
    "format_of_template",
    "read_calls",
    "settle_names",
]

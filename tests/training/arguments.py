"""What the tests of made-up tasks ask of a call's arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def leaves_of(arguments: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything that is no object."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from leaves_of(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value

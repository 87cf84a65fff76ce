"""Ranges of settings, checked where a settings object is made."""

from __future__ import annotations

from collections.abc import Iterable

from strop.tools.errors import UsageError


def require(settings: object, bounds: Iterable[tuple[str, bool, str]]) -> None:
    """Raise UsageError for the first of `bounds`, each (field, whether it holds, what it must be)."""
    for name, holds, wanted in bounds:
        if not holds:
            raise UsageError(f"{name} must be {wanted}, got {getattr(settings, name)}")

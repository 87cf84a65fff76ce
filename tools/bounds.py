"""Ranges of settings, checked where a settings object is made."""

from __future__ import annotations

import math
from collections.abc import Iterable

from strop.tools.errors import UsageError


def require(settings: object, bounds: Iterable[tuple[str, bool, str]]) -> None:
    """Raise UsageError for the first of `bounds`, each (field, whether it holds, what it must be).

    Numbers must be finite besides.
    """
    for name, holds, wanted in bounds:
        value = getattr(settings, name)
        if not holds:
            raise UsageError(f"{name} must be {wanted}, got {value}")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} must be {wanted}, and finite, got {value}")

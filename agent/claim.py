"""Whose a directory of rows is: all of them are made by one policy, with one set of settings.

DIR/settings.json    what its rows are made with; whoever goes on there has to make them so, too
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from strop.agent.rows import SETTINGS
from strop.tools.errors import UsageError
from strop.tools.files import has_rows, read_json, write_json

_DIGESTS = frozenset({"weights", "version"})
"""Settings whose values tell a person nothing."""


def claim(
    folder: Path,
    settings: Mapping[str, Any],
    holding: str,
    files: Iterable[str],
    optional: Collection[str] = (),
) -> None:
    """Note what the rows of `folder` are made with, or see that they were made so.

    A folder without a row in any of its `files` belongs to nobody yet. What is `optional` touches nothing
    that was made without it: where one side has no such setting, or None, the other's is kept. Raises
    UsageError naming all that differs (`holding` says what the rows are), DataError for settings that are
    not JSON.
    """
    file = folder / SETTINGS
    wanted = json.loads(json.dumps(settings))
    if any(has_rows(folder / name) for name in files):
        known = read_json(file) if file.exists() else {}
        known = known if isinstance(known, dict) else {}
        for name in optional:
            kept = [side[name] for side in (wanted, known) if side.get(name) is not None]
            if len(kept) == 1:
                wanted[name] = known[name] = kept[0]
        changed = list(_differences(known, wanted))
        if changed:
            raise UsageError(
                f"{folder} holds {holding} made with other settings ({'; '.join(changed)}): "
                "give another directory, or delete this one to begin again"
            )
    write_json(file, wanted)


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> Iterable[str]:
    for name in {**known, **wanted}:
        there, here = known.get(name), wanted.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differences(there, here, f"{within}{name}.")
        elif there != here:
            yield f"{within}{name}" + ("" if name in _DIGESTS else f" {there!r}, now {here!r}")

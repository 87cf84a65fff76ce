"""How a model talks: the few facts no checkpoint file records.

They lie in ``strop.json`` beside a checkpoint or an adapter. An adapter's profile wins over that of the model
it was trained on, field by field (`Profile.over`): training may have taught a new form or a stop token.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from strop.tools.errors import DataError, ModelError
from strop.tools.files import read_json, write_json

PROFILE_FILE = "strop.json"


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of how a model talks; None where it is not known."""

    call_format: str | None = None
    """The form it writes calls in; a name in `strop.tools.formats.FORMATS`."""
    stop_text: str | None = None
    """Its answer to a check turn when the draft stands."""
    stop_token_id: int | None = None
    """The id it was trained to answer instead; None where none was trained."""

    def over(self, base: Profile) -> Profile:
        """This profile, completed by `base` where it says nothing."""
        mine = {name: value for name, value in asdict(self).items() if value is not None}
        return Profile(**{**asdict(base), **mine})


def read_profile(directory: Path) -> Profile:
    """The profile beside a checkpoint or adapter; an empty one where there is none.

    Raises ModelError naming the file where it cannot be read, has an unknown key or a value of a wrong type.
    """
    path = directory / PROFILE_FILE
    if not path.exists():
        return Profile()
    try:
        row = read_json(path)
    except DataError as error:
        raise ModelError(f"{error}; mend the file or delete it") from error
    if not isinstance(row, dict):
        raise ModelError(f"{path}: want a JSON object, got {type(row).__name__}")
    unknown = sorted(row.keys() - {field.name for field in fields(Profile)})
    if unknown:
        raise ModelError(f"{path}: unknown key {', '.join(unknown)}; known are {_known()}")
    return Profile(
        call_format=_typed(path, row, "call_format", str),
        stop_text=_typed(path, row, "stop_text", str),
        stop_token_id=_typed(path, row, "stop_token_id", int),
    )


def write_profile(directory: Path, profile: Profile) -> None:
    """Write the profile beside a checkpoint or adapter; the inverse of `read_profile`. Raises RunError."""
    known = {name: value for name, value in asdict(profile).items() if value is not None}
    write_json(directory / PROFILE_FILE, known)


def _known() -> str:
    return ", ".join(field.name for field in fields(Profile))


def _typed(path: Path, row: dict[str, Any], key: str, kind: type) -> Any:
    value = row.get(key)
    if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise ModelError(f"{path}: {key} must be {kind.__name__}, got {value!r}")

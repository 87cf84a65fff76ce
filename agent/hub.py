"""Checkpoints from the Hugging Face hub, kept in the hub's own cache."""

from __future__ import annotations

import re
from pathlib import Path

from strop.agent.sources import hub_allowed, url_refusal
from strop.tools.errors import ModelError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""``org/name``; a path that begins with ``.``, ``/`` or ``~`` is none."""

# Weights once (safetensors), and no other framework's copies of them.
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "LICENSE*"]


def fetch_snapshot(hub_id: str, *, fetch: bool = True) -> Path:
    """The directory of a hub checkpoint's files, from the local cache where the hub cannot be asked.

    Raises ModelError within seconds where the hub cannot be reached, refuses or does not know `hub_id`.
    """
    try:
        from huggingface_hub import constants, get_token, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ModelError(f"{hub_id} lies on the hub: install strop[transformers] to fetch it") from error
    refusal = _refusal(f"{constants.ENDPOINT}/{hub_id}/resolve/main/config.json", get_token(), fetch)
    try:
        return Path(
            snapshot_download(hub_id, allow_patterns=_PATTERNS, local_files_only=refusal is not None)
        ).absolute()
    except LocalEntryNotFoundError as error:
        why = refusal or "the connection broke off"
        raise ModelError(f"{hub_id} is no directory here, nor in the hub's cache; the hub: {why}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"{hub_id} could not be fetched from the hub: {_first_line(error)}") from error


def _refusal(url: str, token: str | None, fetch: bool) -> str | None:
    if not fetch:
        return "not asked"
    if not hub_allowed():
        return "HF_HUB_OFFLINE is set"
    return url_refusal(url, {"Authorization": f"Bearer {token}"} if token else {})


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

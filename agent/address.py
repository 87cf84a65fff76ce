"""What a person gives of somebody else's server: its address and a key."""

from __future__ import annotations

import httpx

from strop.tools.errors import UsageError


def http_address(url: str) -> httpx.URL:
    """Raises UsageError for what is none."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise UsageError(f"endpoint {url!r} is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"endpoint {url!r} is no http address; want something like http://127.0.0.1:8000/v1")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise UsageError(f"endpoint {url!r}: ports go from 1 to 65535")
    return parsed


def authorization(api_key: str | None) -> dict[str, str]:
    """The header of a key. Raises UsageError for what cannot be one."""
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise UsageError("the API key has characters no key has; was it copied whole?")
    return {"Authorization": f"Bearer {api_key}"}

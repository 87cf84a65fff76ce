"""The bytes of a request as plain data, bounded before anything looks at their meaning.

What is refused here would otherwise surface as an odd failure deep inside a template or a tokenizer:
nesting deeper than a renderer recurses, numbers that are no JSON numbers, halves of surrogate pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from fastapi import Request

from strop.agent.server.errors import ApiError, refused

MAX_DEPTH = 64
"""Lists and objects inside one another; real tool schemas stay below 20."""
MAX_INTEGER_BITS = 1024
"""Wider integers are refused: no sensible schema has one, and printing them takes quadratic time."""


async def read_object(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object in the request's body of at most `limit` bytes. Raises ApiError (400 or 413)."""
    data = await _read(request, limit)
    try:
        value = parse(data)
    except ValueError as error:
        raise refused(f"the body cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise refused("the body must be a JSON object")
    return value


async def _read(request: Request, limit: int) -> bytes:
    """All bytes, never holding more than `limit` and one network read of them."""
    too_large = ApiError(413, f"the body is longer than {limit} bytes", code="request_too_large")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
        raise too_large
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > limit:
            raise too_large
    return bytes(read)


def parse(data: bytes | str) -> Any:
    """Parse JSON text. Raises ValueError where it is not JSON, or outside this module's bounds."""
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of over 4300 digits
        raise ValueError(f"not JSON: {str(error)[:200]}") from error
    _check(value)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _check(value: Any) -> None:
    """Raise for the first value out of bounds; iterative, so that depth cannot hurt it."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> Iterable[Any]:
    match value:
        case dict():
            return [*value, *value.values()]
        case list():
            return value
        case str() if not value.isascii() and not _is_text(value):
            raise ValueError("a text holds half a surrogate pair, which is no character")
        case float() if not math.isfinite(value):
            raise ValueError("a number is too large")
        case int() if value.bit_length() > MAX_INTEGER_BITS:
            raise ValueError("an integer is too large")
    return ()


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

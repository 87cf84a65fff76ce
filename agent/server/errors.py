"""What the server refuses, in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.

    400  the body is not JSON, a field is wrong, or the prompt does not fit (``context_length_exceeded``)
    401  the key is missing or wrong (``invalid_api_key``)
    404  unknown model (``model_not_found``) or route; 405 the route has another method
    413  the body is longer than the server reads (``request_too_large``)
    429  too many requests at once (``rate_limit_exceeded``), with Retry-After
    500  a bug of Strop's, its traceback in the log and not in the reply
    503  the engine failed or is being started again (``engine_error``), or the server is on its way out
         (``shutting_down``), with Retry-After
    504  the request's time is over (``timeout``)

422 is never answered: OpenAI's clients expect 400.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from strop.tools.errors import ModelError, StropError, TooLongError, UsageError


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status = status
        """HTTP status."""
        self.param = param
        """Path of the field that is wrong, such as ``messages[0].role``."""
        self.code = code
        """OpenAI's word for it, where there is one."""

    @property
    def body(self) -> dict[str, Any]:
        """The reply's JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the status."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": "1"} if self.status in (429, 503) else {}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers)


GAVE_UP = "the engine gave up this request"
"""What is said of an answer that ended by `FinishReason.ABORT`."""


def refused(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The request is wrong: 400."""
    return ApiError(400, message, param=param, code=code)


def of_strop(error: StropError) -> ApiError:
    """400 where the request asks for what cannot be done, 503 where the engine fails."""
    if isinstance(error, TooLongError):
        return refused(str(error), "messages", "context_length_exceeded")
    if isinstance(error, UsageError | ModelError):  # the latter: an adapter that was to be loaded
        return refused(str(error))
    return ApiError(503, str(error), code="engine_error")


def of_validation(error: ValidationError, body: Mapping[str, Any]) -> ApiError:
    """400 with the path of the first field that pydantic refuses. Values are not repeated.

    Where a field may be one of several things, the complaint that goes deepest into it is the one to tell.
    """
    found = [
        (field_path(one["loc"], body, missing=one["type"] == "missing"), one["msg"])
        for one in error.errors(include_url=False)
    ]
    inside = [one for one in found if one[0].startswith(found[0][0])]
    param, reason = max(inside, key=lambda one: one[0].count(".") + one[0].count("["))
    reason = reason.removeprefix("Value error, ")
    return refused(f"{param}: {reason}" if param else reason, param or None)


def field_path(loc: Sequence[str | int], body: Any, *, missing: bool = False) -> str:
    """``("messages", 0, "str")`` → ``messages[0]``: only steps that the body has, and the last where that is
    what is `missing`.

    Pydantic adds the names of union members to a location; a client knows nothing of those.
    """
    path, here = "", body
    for index, step in enumerate(loc):
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif (
            isinstance(step, str)
            and isinstance(here, dict)
            and (step in here or (missing and index == len(loc) - 1))
        ):
            path, here = f"{path}.{step}" if path else step, here.get(step)
    return path


def install(app: FastAPI) -> None:
    """Make every refusal of `app` one of the above."""

    async def api_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def strop_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StropError)
        return of_strop(error).response()

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}"
        response = ApiError(error.status_code, message).response()
        response.headers.update(error.headers or {})
        return response

    async def bug(_: Request, error: Exception) -> JSONResponse:
        return ApiError(500, f"internal error ({type(error).__name__}); see the server's log").response()

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(StropError, strop_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, bug)

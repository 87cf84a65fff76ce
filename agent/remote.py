"""Asks any OpenAI-compatible endpoint; what it answers is judged like a local model's answer.

Only tokens are missing: an endpoint's drafts have no ids, so they can be scored but not trained on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from strop.agent.address import authorization, http_address
from strop.agent.answer import Answer, StopReason
from strop.agent.engines.base import Sampling
from strop.agent.turns import plain_messages, with_tools_in_system
from strop.agent.wire import SafeNames, WireReply, answer_of, is_safe, messages_with_names, read_reply
from strop.tools.errors import DataError, EndpointError, RefusedError, TooLongError, UsageError
from strop.tools.spec import ToolSpec
from strop.tools.task import Task

RETRIED = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may well succeed."""
BUSY = frozenset({429, 503, 529})
"""Of these, what says that there is too much to do: that passes with time, however often it is tried."""
PATIENCE = 600.0
"""Seconds to wait in all for an endpoint that is busy."""
LONGEST_WAIT = 60.0
"""Seconds between two tries, unless the endpoint asks for more (``Retry-After``)."""
HOPELESS = frozenset({401, 403, 404, 405, 407})
"""Refusals of whatever is asked."""
EXCERPT = 200
"""Characters of an unwelcome answer that an error repeats."""


class RemoteChat:
    """An `Answerer` over ``POST {url}/chat/completions``.

    Native ``tool_calls`` are taken as they are; where a model answers a tools prompt with text, calls are
    read from it and the answer's repairs say so. Tool names go out as they are, dots included, until the
    endpoint refuses one (OpenAI's own does); from then on they are sent in the safe alphabet and mapped back.

    Failing connections and statuses in `RETRIED` are tried `attempts` times, those in `BUSY` for `patience`
    seconds, with growing, jittered pauses or as ``Retry-After`` says. Where it refuses ``max_tokens`` or a
    ``temperature``, as OpenAI's reasoning models do, ``max_completion_tokens`` goes out instead, and none.
    Use as an asynchronous context manager, or `close` it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        refine: str = "off",
        attempts: int = 5,
        backoff: float = 0.5,
        patience: float = PATIENCE,
        timeout: float = 600.0,
        safe_names: bool = False,
        call_format: str = "fenced_json",
        prompt_mode: bool = False,
        say: Callable[[str], object] = lambda _: None,
    ):
        """`url` ends before ``/chat/completions``; a bare host gets ``/v1``.

        `refine` other than ``off`` is asked of the endpoint, which must be a Strop server; `backoff` is the
        first pause and `timeout` the longest wait for one answer, both in seconds; `safe_names` sends safe
        names from the start; `call_format` is what text is read as first. In `prompt_mode` no tools are sent:
        they are written into the system message, and calls are read from the text, which suits endpoints
        without tool calls of their own. `say` is told what answers come about otherwise than asked. Raises
        UsageError for a bad URL or key.
        """
        self._url = chat_url(url)
        self._name = model
        self._refine: str | int = (int(refine) or "off") if refine.isdecimal() else refine
        self._attempts = attempts
        self._backoff = backoff
        self._patience = patience
        self._say = say
        self._limit_name = "max_tokens"
        self._tempered = True
        self._safe_names = safe_names
        self._call_format = call_format
        self._prompt_mode = prompt_mode
        self._timeout = timeout
        headers = {"Content-Type": "application/json"} | authorization(api_key)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        waits = httpx.Timeout(timeout, connect=10.0)
        self._client = httpx.AsyncClient(headers=headers, limits=limits, timeout=waits)

    @property
    def name(self) -> str:
        return self._name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def answer(self, task: Task, sampling: Sampling) -> Answer:
        """One answer.

        Raises EndpointError where the endpoint cannot be reached or asked, RefusedError where it refuses this
        request or answers something else than a chat completion, TooLongError where it says the prompt does
        not fit, and UsageError for sampling that cannot be asked for over HTTP or refinement that is not as
        asked.
        """
        _check(sampling)
        names = SafeNames(task.tools) if self._safe_names else None
        body = self._body(task, sampling, names)
        response = await self._post(body)
        if names is None and _refuses_names(response, task):
            if not self._safe_names:
                self._say(f"{self._url}: names of tools go out in letters, digits, _ and - from now on")
            self._safe_names = True
            return await self.answer(task, sampling)
        if self._gives_way(response, body):
            return await self.answer(task, sampling)
        reply = self._read(response)
        self._check_refined(reply)
        offered = task.tools if self._prompt_mode else _named(task.tools, names)
        return answer_of(reply, names, tools=offered, call_format=self._call_format)

    def _body(self, task: Task, sampling: Sampling, names: SafeNames | None) -> dict[str, Any]:
        tools, messages = task.tools, [dict(message) for message in task.messages]
        if self._prompt_mode:
            tools, messages = (), self._written_out(task)
        elif names is not None:
            tools = _named(tools, names)
            messages = messages_with_names(task.messages, names)
        body: dict[str, Any] = {
            "model": self._name,
            "messages": messages,
            self._limit_name: sampling.max_tokens,
        }
        if self._tempered:
            body["temperature"] = sampling.temperature
        optional = {
            "tools": [tool.to_openai() for tool in tools],
            "stop": list(sampling.stop),
            "top_p": sampling.top_p if sampling.top_p != 1 else None,
            "strop": {"refine": self._refine} if self._refine != "off" else None,
        }
        body |= {name: value for name, value in optional.items() if value}
        return body if sampling.seed is None else body | {"seed": sampling.seed}

    def _written_out(self, task: Task) -> list[dict[str, Any]]:
        """Messages of plain text: the tools, earlier calls and their results written out."""
        plain = plain_messages(task.messages, self._call_format)
        told = [
            message if message["role"] != "tool" else {"role": "user", "content": _result_text(message)}
            for message in plain
        ]
        return with_tools_in_system(told, task.tools, self._call_format) if task.tools else told

    async def _post(self, body: dict[str, Any]) -> httpx.Response:
        """The response, once it is none to try again after."""
        # Escaped, since halves of surrogate pairs, which a task may hold, are no UTF-8.
        content = json.dumps(body).encode()
        waited = 0.0
        for attempt in itertools.count(1):
            status, pause = None, None
            try:
                response = await self._client.post(self._url, content=content)
            except httpx.ReadTimeout:
                # Asked again, it would not be faster; other tasks may be.
                raise RefusedError(f"{self._url}: no answer within {self._timeout:g} s") from None
            except httpx.HTTPError as error:
                failure = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            else:
                status = _code(response)
                if status not in RETRIED:
                    return response
                failure, pause = _status(response), _retry_after(response)
            growing = min(LONGEST_WAIT, self._backoff * 2 ** min(attempt - 1, 16)) * random.uniform(0.5, 1.0)
            pause = growing if pause is None else max(pause, growing)
            waited += pause
            if waited > self._patience or (status not in BUSY and attempt >= self._attempts):
                times = "once" if attempt == 1 else f"{attempt} times"
                # An error within the server may be this request's own; nothing else here is.
                kind = RefusedError if status == 500 else EndpointError
                raise kind(f"{self._url}: {failure} (tried {times}); is the server up and well?")
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the count does not end")

    def _read(self, response: httpx.Response) -> WireReply:
        status = _code(response)
        if status in (400, 413, 422) and _says_too_long(response.text):
            raise TooLongError(f"{self._url}: {_status(response)}")
        if status >= 400:
            kind = EndpointError if status in HOPELESS else RefusedError
            raise kind(f"{self._url}: {_status(response)}{_HINTS.get(status, '')}")
        try:
            return read_reply(response.content)
        except DataError as error:
            raise RefusedError(
                f"{self._url}: its answer is no chat completion ({error}): {_excerpt(response)}"
            ) from None

    def _gives_way(self, response: httpx.Response, body: Mapping[str, Any]) -> bool:
        """Whether a refusal is of how `body` limits or samples answers, which is done otherwise from now on.

        Others may be on their way as it was.
        """
        if response.status_code != 400:
            return False
        if "max_completion_tokens" in response.text and "max_tokens" in body:
            self._limit_name = "max_completion_tokens"
            return True
        if "temperature" in body and _takes_no(response, "temperature"):
            if self._tempered:
                self._say(f"{self._url}: takes no temperature, so that answers are sampled as it sees fit")
            self._tempered = False
            return True
        return False

    def _check_refined(self, reply: WireReply) -> None:
        """An answer must have come about as the results will say it did."""
        extra = reply.choices[0].strop
        if self._refine != "off" and extra is None:
            raise UsageError(f"{self._url} is no Strop server and cannot refine: ask with refinement off")
        if self._refine != "off" and extra is not None and extra.stop_reason is StopReason.OFF:
            raise UsageError(f"{self._url} did not refine, which it does only where tools are sent")
        if self._refine == "off" and extra is not None and extra.stop_reason is not StopReason.OFF:
            raise UsageError(
                f"{self._url} refines by itself: start it with --refine off, or ask with --refine adaptive"
            )


def _named(tools: Sequence[ToolSpec], names: SafeNames | None) -> tuple[ToolSpec, ...]:
    """The tools under the names they are sent by."""
    return tuple(tools if names is None else (replace(tool, name=names.send(tool.name)) for tool in tools))


def _result_text(message: Mapping[str, Any]) -> str:
    return f"Result of {message.get('name') or 'the call'}: {message['content']}"


_HINTS = {
    401: "; does it want an API key?",
    403: "; does it want another API key?",
    404: "; is the URL right, and does it serve this model?",
}


def chat_url(url: str) -> str:
    """Where to post. Raises UsageError for what is no http address."""
    parsed = http_address(url)
    path = parsed.path.rstrip("/") or "/v1"
    return str(parsed.copy_with(path=path.removesuffix("/chat/completions") + "/chat/completions"))


def _check(sampling: Sampling) -> None:
    if sampling.n != 1:
        raise UsageError(f"an answer is one sample, got n={sampling.n}")
    if sampling.stop_token_ids or sampling.logprobs:
        raise UsageError("an endpoint takes no token ids to stop at and returns no log-probabilities here")


def _code(response: httpx.Response) -> int:
    """The status; of an error sent as a success, as routers do with those of others, what the error says."""
    if not response.is_success or b'"error"' not in response.content[:EXCERPT]:
        return response.status_code
    try:
        row = response.json()
    except (ValueError, RecursionError):
        return response.status_code
    if not isinstance(row, dict) or not isinstance(row.get("error"), dict) or row.get("choices"):
        return response.status_code
    code = row["error"].get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 400


def _status(response: httpx.Response) -> str:
    return f"HTTP {response.status_code}: {_excerpt(response)}"


def _excerpt(response: httpx.Response) -> str:
    """The error's own message where it has OpenAI's form, else the start of the body, on one line."""
    try:
        text = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = response.text
    line = " ".join(text.split())
    return (line[:EXCERPT] + "…" if len(line) > EXCERPT else line) or "(empty body)"


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds the endpoint asks to wait, which it may put as a date."""
    wanted = response.headers.get("retry-after", "").strip()
    if wanted.replace(".", "", 1).isdecimal():
        return float(wanted)
    try:
        when = parsedate_to_datetime(wanted)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(when.tzinfo)).total_seconds())


_TOO_LONG = (
    "context_length_exceeded",  # OpenAI
    "maximum context length",  # vLLM
    "model's context length",  # SGLang
    "exceed_context_size",  # llama.cpp's server, by its error's type
    "available context size",  # and in its older words
    "prompt is too long",  # Anthropic
    "exceeds the maximum number of tokens",  # Gemini
)
_UNSUPPORTED = re.compile(r"unsupported|not supported?|only the default", re.IGNORECASE)


def _takes_no(response: httpx.Response, parameter: str) -> bool:
    """Whether a refusal is of a parameter: of the one it names, else of the one its text is about."""
    try:
        named = response.json()["error"]["param"]
    except (ValueError, KeyError, TypeError, RecursionError):
        named = None
    if isinstance(named, str) and named:
        return named == parameter
    # A whole word: tools may well be called get_temperature.
    text = response.text
    return re.search(rf"\b{parameter}\b", text) is not None and _UNSUPPORTED.search(text) is not None


def _says_too_long(text: str) -> bool:
    return any(words in text.lower() for words in _TOO_LONG)


def _refuses_names(response: httpx.Response, task: Task) -> bool:
    """Whether a refusal may be about the tools' names, and safe names would change anything."""
    unsafe = any(not is_safe(tool.name) for tool in task.tools)
    return response.status_code in (400, 422) and unsafe and "name" in response.text

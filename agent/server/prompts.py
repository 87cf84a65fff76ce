"""The bodies of ``POST /v1/completions`` and of the adapter routes.

Sources: OpenAI's API reference, "Create completion", and vLLM's server for what it adds (ids in and out, stop
ids, structural tags, adapters).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from strop.agent.engines.base import Sampling
from strop.agent.server.messages import Part
from strop.agent.server.protocol import IGNORED, Limit, StopText, StreamOptions, check_extra, read_body

_Id: TypeAlias = Annotated[int, Field(ge=0, le=2**31 - 1)]
NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "best_of": (1,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "min_p": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "suffix": ("",),
    "top_k": (-1, 0),
}
"""Fields that are not supported, and their values that change nothing (null is always one)."""


class StructuredOutputs(Part):
    """vLLM's form of a constraint; only XGrammar's structural tags are taken."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    structural_tag: str


class CompletionRequest(BaseModel):
    """The fields that are read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    model: str | None = None
    """Missing: the one the server was started with."""
    prompt: (
        str
        | Annotated[list[_Id], Field(min_length=1)]
        | Annotated[list[str], Field(min_length=1, max_length=128)]
        | Annotated[list[Annotated[list[_Id], Field(min_length=1)]], Field(min_length=1, max_length=128)]
    )
    """A text, ids, or several of either. No template is applied."""
    max_tokens: Limit | None = None
    """16 where missing, as OpenAI has it."""
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    stop_token_ids: Annotated[list[_Id], Field(max_length=256)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """The likeliest ids to report at every step, the drawn one always."""
    echo: bool | None = None
    """The prompt before the answer, with its log-probabilities where those are asked for."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    """True where missing."""
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    """Whether log-probabilities name tokens as ``token_id:N``."""
    structured_outputs: StructuredOutputs | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """Every prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    def sampling(self, default: Sampling) -> Sampling:
        """In Strop's words; `default` for what is not said."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            max_tokens=self.max_tokens or 16,
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            n=self.n or 1,
            seed=None if self.seed is None else self.seed % 2**31,
            stop=stop,
            stop_token_ids=tuple(self.stop_token_ids or ()),
            logprobs=self.logprobs is not None,
            top_logprobs=self.logprobs or 0,
            structure=None if self.structured_outputs is None else self.structured_outputs.structural_tag,
        )


def read_completion(body: Mapping[str, Any]) -> CompletionRequest:
    """Read a request. Raises ApiError 400 that names the first wrong field."""
    request = read_body(CompletionRequest, body)
    for name, value in (request.model_extra or {}).items():
        check_extra(name, value, IGNORED, NEUTRAL)
    return request


class AdapterName(Part):
    """Which adapter."""

    lora_name: str = Field(min_length=1, max_length=256)


class NewAdapter(AdapterName):
    """An adapter in a directory of the server's machine."""

    lora_path: str = Field(min_length=1, max_length=4096)

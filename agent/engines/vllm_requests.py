"""One request in vLLM's own types: what it is asked, and what it answered.

Two things vLLM reports differently from what `Completion` promises. It applies a structure's mask before it
computes log-probabilities, and it reports either chosen ids or the likeliest. So what is watched is read off
the request itself where nothing else is asked of it, and else off a request of one id that goes before
(`watches_apart`). The log-probabilities of a structured sample are those among the ids the structure allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from strop.agent.engines.base import Completion, FinishReason, Sampling, samples_alike
from strop.agent.engines.likelihood import MOST_LIKELY, watched_among
from strop.tools.errors import EngineError

HINT = "set VLLM_LOGGING_LEVEL=INFO and start again to see what happened"


def watches_apart(sampling: Sampling) -> bool:
    """Whether what is watched needs a request of its own."""
    return bool(sampling.watch) and (sampling.structure is not None or sampling.top_logprobs > 0)


def parameters(sampling: Sampling, *, stream: bool) -> Any:
    """vLLM's ``SamplingParams`` for `sampling`; of samples that are all the same, for one."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    reported: dict[str, Any] = {}
    if sampling.logprobs:
        reported = {"logprobs": sampling.top_logprobs}
    if sampling.watch and not watches_apart(sampling):
        reported = _reporting(sampling.watch)
    structure = sampling.structure
    return SamplingParams(
        n=1 if samples_alike(sampling) else sampling.n,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        detokenize=bool(sampling.stop),
        include_stop_str_in_output=True,
        output_kind=RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY,
        structured_outputs=None if structure is None else StructuredOutputsParams(structural_tag=structure),
        **reported,
    )


def watching_parameters(watch: Sequence[int]) -> Any:
    """``SamplingParams`` of a request that only reports how likely each of `watch` is at its first step."""
    from vllm import SamplingParams

    return SamplingParams(max_tokens=1, temperature=0.0, detokenize=False, **_reporting(watch))


def _reporting(watch: Sequence[int]) -> dict[str, Any]:
    from vllm import SamplingParams

    if "logprob_token_ids" in SamplingParams.__struct_fields__:
        return {"logprob_token_ids": list(dict.fromkeys(watch))}
    return {"logprobs": MOST_LIKELY}


def watched_in(row: Mapping[int, Any], watch: Sequence[int]) -> tuple[float, ...]:
    """Log-probability of each of `watch` by what vLLM reported of a step; older versions report only the
    likeliest ids."""
    return watched_among({index: float(entry.logprob) for index, entry in row.items()}, watch)


def completion(
    sample: Any, sampling: Sampling, cached_tokens: int, watched: tuple[float, ...] | None
) -> Completion:
    """A ``CompletionOutput`` as a `Completion`."""
    ids = tuple(sample.token_ids)
    logprobs = alternatives = None
    if sampling.logprobs:
        logprobs = tuple(row[i].logprob for row, i in zip(sample.logprobs, ids, strict=True))
    if sampling.logprobs and sampling.top_logprobs:
        alternatives = tuple(_likeliest(row, sampling.top_logprobs) for row in sample.logprobs)
    reason = finish_reason(sample.finish_reason)
    return Completion(ids, reason, logprobs, cached_tokens, alternatives, watched)


def _likeliest(row: Mapping[int, Any], count: int) -> tuple[tuple[int, float], ...]:
    """The first `count` of a step: the drawn id is reported too, and may be less likely than they are."""
    ranked = sorted(row.items(), key=lambda item: -item[1].logprob)
    return tuple((index, float(entry.logprob)) for index, entry in ranked[:count])


def finish_reason(reason: str | None) -> FinishReason:
    """vLLM's word for it as ours. Raises EngineError for one that means failure."""
    try:
        return FinishReason(reason or "abort")
    except ValueError:
        raise EngineError(f"vLLM gave up a request ({reason}); {HINT}") from None


def first_line(error: BaseException) -> str:
    """The most telling single line: pydantic's errors put theirs second."""
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    vague = "validation error" in lines[0] or "Invalid structural tag" in lines[0]
    return lines[1] if len(lines) > 1 and vague else lines[0]


def client_errors() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that is wrong; newer versions have a class of their own for it."""
    from vllm import exceptions

    return (ValueError, getattr(exceptions, "VLLMClientError", ValueError))

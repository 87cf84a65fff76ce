"""vLLM in this process; its CPU build and its GPU build by the same code.

The engine proper runs in worker processes that vLLM spawns, so the main module of whoever starts one must be
guarded by ``if __name__ == "__main__"``. Starting one leaves the event loop free.

What differs on CPUs, each because it was measured or crashed otherwise:

- all cores are bound (vLLM leaves one idle by default), unless ``VLLM_CPU_OMP_THREADS_BIND`` is set;
- float32, unless the CPU multiplies bfloat16 matrices in hardware (see `strop.agent.cpu`);
- no chunked prefill: a seeded request whose prompt is prefilled in chunks brings vLLM 0.32's CPU engine down;
- eager mode: compiling takes longer than most runs;
- an adapter given at start is merged into the model (see `merge`).

Not covered: pipelines over several machines, quantisation, and models that take more than text.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Self

from strop.agent.adapter import adapter_rank, require_adapter
from strop.agent.cpu import multiplies_bfloat16
from strop.agent.engines.base import (
    Chunk,
    Completion,
    EngineInfo,
    Sampling,
    check_request,
    check_stream,
    unknown_adapter,
)
from strop.agent.engines.children import Starter, mark_children
from strop.agent.engines.merge import merged_checkpoint
from strop.agent.engines.vllm_requests import (
    HINT,
    client_errors,
    completion,
    finish_reason,
    first_line,
    parameters,
    watched_in,
    watches_apart,
    watching_parameters,
)
from strop.tools.errors import EngineDeadError, EngineError, UsageError

KV_CACHE_GIB = 2
"""CPU memory for keys and values, unless ``VLLM_CPU_KVCACHE_SPACE`` says otherwise."""
DEAD = f"vLLM's engine process died, killed or out of memory perhaps; {HINT}"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Largest ranks vLLM can be started with."""


class VllmEngine:
    """See the module. Made by `start`."""

    def __init__(self, engine: Any, starter: Starter, info: EngineInfo, given: Any, *, hot_adapters: bool):
        """`engine` is an ``AsyncLLM`` made in the thread of `starter`; `given` the ``LoRARequest`` that every
        request without an adapter uses, or None."""
        self._engine = engine
        self._starter = starter
        self._info = info
        self._given = given
        self._hot_adapters = hot_adapters
        self._adapters: dict[str, Any] = {}
        self._adapter_ids = itertools.count(2)
        self._request_ids = itertools.count()
        self._closed = False

    @classmethod
    async def start(
        cls,
        model: Path,
        *,
        served_name: str,
        max_model_len: int,
        adapter: Path | None = None,
        max_lora_rank: int = 0,
        max_adapters: int = 1,
        statistics: bool = False,
        engine_args: Mapping[str, Any] | None = None,
        cache: Path,
    ) -> Self:
        """Start vLLM on a checkpoint directory.

        `adapter` becomes part of the model; `max_lora_rank` above 0 allows `load_adapter` up to that rank,
        with requests for `max_adapters` of them computed together; with `statistics` vLLM counts into
        prometheus_client's default registry; `engine_args` go to ``AsyncEngineArgs`` as they are and win;
        `cache` is where merged checkpoints lie.
        Raises EngineError where vLLM does not start, ModelError for a bad adapter.
        """
        set_environment()
        mark_children()
        with quiet():
            import vllm
            from vllm.platforms import current_platform

        on_cpu = bool(current_platform.is_cpu())
        if adapter is not None:
            require_adapter(adapter)
        if adapter is not None and on_cpu:
            model, adapter = await merged_checkpoint(model, adapter, cache), None
        if adapter is not None:
            max_lora_rank = max(max_lora_rank, adapter_rank(adapter))
        arguments = default_arguments(model, max_model_len, on_cpu=on_cpu) | {
            "disable_log_stats": not statistics
        }
        if max_lora_rank:
            # The adapter given at the start takes a place of its own.
            arguments |= _room_for_adapters(max_lora_rank, max_adapters + (adapter is not None))
        arguments |= engine_args or {}
        given = None if adapter is None else _lora_request("given", 1, adapter)
        starter = Starter()
        engine = await starter.run(lambda: _start(arguments), undo=lambda made: made.shutdown())
        device = "CPU" if on_cpu else current_platform.get_device_name()
        known = engine.model_config
        dtype = str(known.dtype).removeprefix("torch.")
        info = EngineInfo(
            kind="vllm",
            model=served_name,
            context_length=known.max_model_len,
            structures=True,
            vocabulary=known.get_vocab_size(),
            detail=f"vLLM {vllm.__version__}, {device}, {dtype}",
        )
        return cls(engine, starter, info, given, hot_adapters=max_lora_rank > 0)

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def trouble(self) -> str | None:
        if self._closed:
            return "the vLLM engine is closed"
        return DEAD if self._engine.errored else None

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        check_request(self._info, prompt_ids, sampling)
        apart = await self._watched_apart(prompt_ids, sampling, adapter)
        asked = parameters(sampling, stream=False)
        async with aclosing(self._outputs(prompt_ids, asked, adapter)) as outputs:
            async for output in outputs:
                if output.finished:
                    samples = sorted(output.outputs, key=lambda sample: sample.index)
                    cached = output.num_cached_tokens or 0
                    done = [
                        completion(sample, sampling, cached, apart or _watched_first(sample, sampling))
                        for sample in samples
                    ]
                    return done * (sampling.n // len(done))
        raise EngineError(f"vLLM ended a request without an answer; {HINT}")

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        check_request(self._info, prompt_ids, sampling)
        check_stream(sampling)
        apart = await self._watched_apart(prompt_ids, sampling, adapter)
        asked, begun = parameters(sampling, stream=True), False
        async with aclosing(self._outputs(prompt_ids, asked, adapter)) as outputs:
            async for output in outputs:
                [sample] = output.outputs
                ids = tuple(sample.token_ids)
                reason = finish_reason(sample.finish_reason) if output.finished else None
                watched = (apart or _watched_first(sample, sampling)) if ids and not begun else None
                begun = begun or bool(ids)
                yield Chunk(ids, reason, output.num_cached_tokens or 0, watched)

    async def _watched_apart(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None
    ) -> tuple[float, ...] | None:
        """What is watched, where a request of its own is needed; what that computes is in the cache then."""
        if not watches_apart(sampling):
            return None
        asked = watching_parameters(sampling.watch)
        async with aclosing(self._outputs(prompt_ids, asked, adapter)) as outputs:
            async for output in outputs:
                if output.finished:
                    return watched_in(output.outputs[0].logprobs[0], sampling.watch)
        raise EngineError(f"vLLM ended a request without an answer; {HINT}")

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        """See `Engine.score`. Computes the logits of the whole prompt: about 8 bytes x vocabulary a token."""
        from vllm import SamplingParams

        ids = (*prompt_ids, *completion_ids)
        check_request(self._info, ids, Sampling(max_tokens=1))
        if not completion_ids:
            return ()
        asked = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        scores: tuple[float, ...] = ()
        async with aclosing(self._outputs(ids, asked, adapter)) as outputs:
            async for output in outputs:
                if output.prompt_logprobs:
                    rows = output.prompt_logprobs[len(prompt_ids) : len(ids)]
                    scores = tuple(row[i].logprob for row, i in zip(rows, completion_ids, strict=True))
        return scores

    async def load_adapter(self, name: str, path: Path) -> None:
        self._check_open()
        rank = adapter_rank(path)
        if not self._hot_adapters:
            raise EngineError(
                f"adapter {path} cannot be loaded into a running engine that was started without room for "
                "adapters: start it with the adapter, or with max_lora_rank"
            )
        request = _lora_request(name, next(self._adapter_ids), path)
        try:
            await self._engine.add_lora(request)
        except Exception as error:
            if self._engine.errored:
                raise self._classified(error) from error
            raise EngineError(f"vLLM refused adapter {path} of rank {rank}: {first_line(error)}") from error
        old = self._adapters.pop(name, None)
        self._adapters[name] = request
        if old is not None:
            await self._remove(old)

    async def unload_adapter(self, name: str) -> None:
        """See `Engine.unload_adapter`. Requests that run with it end as they would have."""
        self._check_open()
        if name not in self._adapters:
            raise unknown_adapter(name, self._adapters)
        await self._remove(self._adapters.pop(name))

    async def _remove(self, request: Any) -> None:
        try:
            await self._engine.remove_lora(request.lora_int_id)
        except Exception as error:
            raise self._classified(error) from error

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            context = _zmq_context(self._engine)
            self._engine.shutdown()
            self._engine = None
            self._starter.end()
            await asyncio.sleep(0.1)  # lets its tasks see, across threads, that they are cancelled
            gc.collect()  # it is part of a cycle, and its finaliser fails once the interpreter is half gone
            if context is not None:
                context.destroy(linger=0)

    async def _outputs(
        self, prompt_ids: Sequence[int], asked: Any, adapter: str | None
    ) -> AsyncGenerator[Any, None]:
        """vLLM's ``RequestOutput``s; leaving early aborts the request."""
        self._check_open()
        outputs = self._engine.generate(
            {"type": "token", "prompt_token_ids": list(prompt_ids)},
            asked,
            request_id=f"strop-{next(self._request_ids)}",
            lora_request=self._lora_of(adapter),
        )
        try:
            async for output in outputs:
                yield output
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            raise self._classified(error) from error
        finally:
            await outputs.aclose()

    def _classified(self, error: Exception) -> Exception:
        if self._engine is None or self._engine.errored:
            return EngineDeadError(DEAD)
        if isinstance(error, client_errors()):
            return UsageError(f"vLLM refused the request: {first_line(error)}")
        return EngineError(f"vLLM failed on a request: {first_line(error)}; {HINT}")

    def _lora_of(self, adapter: str | None) -> Any:
        if adapter is None:
            return self._given
        if adapter not in self._adapters:
            raise unknown_adapter(adapter, self._adapters)
        return self._adapters[adapter]

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the vLLM engine is closed")


def set_environment() -> None:
    """What vLLM reads from the environment when it is imported or starts; what the user set stays."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if cores:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(KV_CACHE_GIB))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # its warnings are about how it was built
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # As vLLM's own server has it: a fork may take a lock along that another thread holds and never releases.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")


@contextmanager
def quiet() -> Iterator[None]:
    """No Python or torch warnings meanwhile, nor ever in processes started meanwhile.

    Importing vLLM warns about how it and torch were written. What the user set in the environment stays; it
    reaches torch here only if torch was not imported before, hence the logger.
    """
    wanted = {
        "PYTHONWARNINGS": "ignore",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TORCH_LOGS": "-torch._library.triton",
    }
    triton = logging.getLogger("torch._library.triton")
    level = triton.level
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            triton.setLevel(logging.ERROR)
            yield
    finally:
        triton.setLevel(level)
        for name in added:
            del os.environ[name]


def default_arguments(model: Path, max_model_len: int, *, on_cpu: bool) -> dict[str, Any]:
    """``AsyncEngineArgs`` that Strop starts vLLM with, unless told otherwise."""
    arguments: dict[str, Any] = {
        "model": str(model),
        "max_model_len": max_model_len,
        "enable_prefix_caching": True,
        "use_tqdm_on_load": False,
        # By default a structure xgrammar refuses goes to another library, and its grammar is not ours.
        "structured_outputs_config": {"backend": "xgrammar"},
    }
    if on_cpu:
        arguments |= {
            "dtype": "bfloat16" if multiplies_bfloat16() else "float32",
            "enforce_eager": True,
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(4096, max_model_len),
            "max_num_seqs": 32,
            # Its default of 128 leaves up to 127 ids of every prefix to be computed again.
            "block_size": 32,
        }
    return arguments


def _room_for_adapters(largest_rank: int, adapters: int) -> dict[str, Any]:
    rank = next((rank for rank in _RANKS if rank >= largest_rank), None)
    if rank is None:
        raise UsageError(f"vLLM takes adapters up to rank {_RANKS[-1]}, not {largest_rank}")
    return {"enable_lora": True, "max_lora_rank": rank, "max_loras": adapters}


def _watched_first(sample: Any, sampling: Sampling) -> tuple[float, ...] | None:
    return watched_in(sample.logprobs[0], sampling.watch) if sampling.watch and sample.logprobs else None


def _start(arguments: Mapping[str, Any]) -> Any:
    with quiet():
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            engine_args = AsyncEngineArgs(**arguments)
        except TypeError as error:
            raise UsageError(f"vLLM does not know an engine argument: {first_line(error)}") from error
        try:
            return AsyncLLM.from_engine_args(engine_args)
        except Exception as error:
            raise EngineError(f"vLLM did not start: {first_line(error)}; {HINT}") from error


def _zmq_context(engine: Any) -> Any:
    """The ZeroMQ context an ``AsyncLLM`` talks to its processes through; None where it keeps none.

    vLLM closes its sockets and leaves the context to the garbage collector, which warns of it whenever it
    comes by.
    """
    return getattr(getattr(engine.engine_core, "resources", None), "ctx", None)


def _lora_request(name: str, number: int, path: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(name, number, str(path.resolve()))

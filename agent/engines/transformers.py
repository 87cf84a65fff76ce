"""transformers in this process: where vLLM cannot be installed, and as the reference vLLM is tested against.

One thread owns the model. It takes whatever requests wait for the same adapter, pads their prompts on the
left and decodes them together, one id a step, dropping rows as they end; requests that arrive meanwhile wait
for the next batch. Correct before fast: no prefix cache, no paging.

Not covered: models too large for one device. A seed repeats a sample as long as rounding in differently
composed batches does not tip a draw: in float32 about never, in bfloat16 now and then.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from strop.agent.adapter import misfit, require_adapter
from strop.agent.engines.base import (
    Chunk,
    Completion,
    EngineInfo,
    FinishReason,
    Sampling,
    check_request,
    check_stream,
    unknown_adapter,
)
from strop.agent.engines.grammar import Grammars, Matcher, can_constrain
from strop.agent.engines.torch_jobs import (
    Call,
    Job,
    Row,
    attempt,
    companions,
    completion,
    first_line,
    to_loop,
    unwrapped,
)
from strop.agent.engines.torch_sampling import draw, generator, left_padded, likeliest
from strop.tools.errors import EngineError

_GIVEN = "given"
"""peft's name for the adapter the engine was started with."""


class TransformersEngine:
    """See the module. Made by `start`."""

    def __init__(self, model: Any, tokenizer: Any, info: EngineInfo, *, end_ids: Sequence[int], given: bool):
        """`model` is a causal LM, a ``PeftModel`` holding the adapter named "given" where `given`."""
        self._model = model
        self._tokenizer = tokenizer
        self._info = info
        self._end_ids = frozenset(end_ids)
        self._default = _GIVEN if given else None
        self._adapters: dict[str, str] = {}
        self._loaded = 0
        self._grammars: Grammars | None = None
        self._compiling = asyncio.Lock()
        self._inbox: queue.Queue[Job | Call | None] = queue.Queue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="strop-transformers", daemon=True)
        self._thread.start()

    @classmethod
    async def start(
        cls, model: Path, *, served_name: str, max_model_len: int, adapter: Path | None = None
    ) -> Self:
        """Load a checkpoint directory, with `adapter` as part of the model.

        Raises EngineError where it cannot be loaded, ModelError for a bad adapter.
        """
        if adapter is not None:
            require_adapter(adapter)
        return await asyncio.to_thread(cls._load, model, served_name, max_model_len, adapter)

    @classmethod
    def _load(cls, path: Path, served_name: str, max_model_len: int, adapter: Path | None) -> Self:
        import torch
        import transformers
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(device).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        except Exception as error:  # a damaged file makes the libraries raise whatever they trip over
            raise EngineError(f"transformers cannot load {path}: {first_line(error)}") from error
        end = model.generation_config.eos_token_id
        end_ids = [] if end is None else end if isinstance(end, list) else [end]
        if adapter is not None:
            model = _with_adapter(model, _GIVEN, adapter)
        detail = f"transformers {transformers.__version__}, {device}, {str(dtype).removeprefix('torch.')}"
        vocabulary = model.get_input_embeddings().num_embeddings
        info = EngineInfo(
            "transformers",
            served_name,
            max_model_len,
            structures=can_constrain(),
            vocabulary=vocabulary,
            detail=detail,
        )
        return cls(model, tokenizer, info, end_ids=end_ids, given=adapter is not None)

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def trouble(self) -> str | None:
        return "the transformers engine is closed" if self._closed else None

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> list[Completion]:
        check_request(self._info, prompt_ids, sampling)
        arrivals: asyncio.Queue[Any] = asyncio.Queue()
        job = Job(list(prompt_ids), sampling, self._peft_name(adapter), to_loop(arrivals))
        job.matchers = await self._matchers(sampling)
        with self._submitted(job):
            return unwrapped(await arrivals.get())  # type: ignore[no-any-return]  # what a job without stream delivers

    async def stream(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None
    ) -> AsyncIterator[Chunk]:
        check_request(self._info, prompt_ids, sampling)
        check_stream(sampling)
        arrivals: asyncio.Queue[Any] = asyncio.Queue()
        job = Job(list(prompt_ids), sampling, self._peft_name(adapter), to_loop(arrivals), stream=True)
        job.matchers = await self._matchers(sampling)
        with self._submitted(job):
            while True:
                chunk: Chunk = unwrapped(await arrivals.get())
                yield chunk
                if chunk.finish_reason is not None:
                    return

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], *, adapter: str | None = None
    ) -> tuple[float, ...]:
        prompt, completion, name = list(prompt_ids), list(completion_ids), self._peft_name(adapter)
        check_request(self._info, [*prompt, *completion], Sampling(max_tokens=1))
        scores: tuple[float, ...] = await self._in_thread(lambda: self._score(prompt, completion, name))
        return scores

    async def load_adapter(self, name: str, path: Path) -> None:
        require_adapter(path)
        self._loaded += 1
        fresh = f"adapter_{self._loaded}"
        await self._in_thread(lambda: self._load_adapter(fresh, path))
        old, self._adapters[name] = self._adapters.get(name), fresh
        if old is not None:
            await self._in_thread(lambda: self._delete_adapter(old))

    async def unload_adapter(self, name: str) -> None:
        """See `Engine.unload_adapter`. Requests that wait for it or run with it end first."""
        self._peft_name(name)
        gone = self._adapters.pop(name)
        await self._in_thread(lambda: self._delete_adapter(gone))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._model = None

    async def _matchers(self, sampling: Sampling) -> list[Matcher | None]:
        """One a sample; None where nothing is to be kept to. Raises UsageError."""
        if sampling.structure is None:
            return [None] * sampling.n
        structure = sampling.structure
        async with self._compiling:
            return await asyncio.to_thread(lambda: [self._matcher(structure) for _ in range(sampling.n)])

    def _matcher(self, structure: str) -> Matcher:
        if self._grammars is None:
            vocabulary = self._info.vocabulary or 0
            self._grammars = Grammars.of_tokenizer(self._tokenizer, vocabulary, sorted(self._end_ids))
        return self._grammars.matcher(structure)

    def _peft_name(self, adapter: str | None) -> str | None:
        if self._closed:
            raise EngineError("the transformers engine is closed")
        if adapter is None:
            return self._default
        if adapter not in self._adapters:
            raise unknown_adapter(adapter, self._adapters)
        return self._adapters[adapter]

    @contextmanager
    def _submitted(self, job: Job) -> Iterator[None]:
        self._inbox.put(job)
        try:
            yield
        finally:
            job.cancelled = True  # means nothing to a job that is done

    async def _in_thread(self, run: Callable[[], Any]) -> Any:
        if self._closed:
            raise EngineError("the transformers engine is closed")
        arrivals: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox.put(Call(run, to_loop(arrivals)))
        return unwrapped(await arrivals.get())

    # From here on everything runs in the thread that owns the model.

    def _work(self) -> None:
        waiting: deque[Job | Call | None] = deque()
        while True:
            waiting.append(waiting.popleft() if waiting else self._inbox.get())
            while not self._inbox.empty():
                waiting.append(self._inbox.get())
            first = waiting.popleft()
            if first is None:
                attempt(self._refuse, [left for left in waiting if left is not None])
                return
            if isinstance(first, Call):
                attempt(first.run, [first], deliver_result=True)
            else:
                batch = companions(first, waiting)
                attempt(partial(self._generate, batch), batch)

    def _refuse(self) -> None:
        raise EngineError("the transformers engine is closed")

    def _generate(self, batch: Sequence[Job]) -> None:
        """Decode a batch to its end; rows that are done leave it."""
        import torch

        pairs = [
            (job, Row(generator(job.sampling, index), matcher=matcher))
            for job in batch
            for index, matcher in enumerate(job.matchers)
        ]
        for job, row in pairs:
            job.rows.append(row)
        with torch.inference_mode(), self._using(batch[0].adapter):
            ids, mask = left_padded([job.prompt_ids for job, _ in pairs], self._model.device)
            cache: Any = None
            while pairs:
                step = self._model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :],
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache = step.past_key_values
                for (job, row), logits in zip(pairs, step.logits[:, -1].float(), strict=True):
                    self._extend(job, row, logits)
                going = [at for at, (_, row) in enumerate(pairs) if row.reason is None]
                if len(going) < len(pairs):
                    pairs = [pairs[at] for at in going]
                    keep = torch.tensor(going, device=mask.device, dtype=torch.long)
                    mask = mask[keep]
                    if pairs:
                        cache.batch_select_indices(keep)
                ids = torch.tensor([[row.ids[-1]] for _, row in pairs], device=mask.device)
                mask = torch.cat([mask, mask.new_ones(len(pairs), 1)], dim=1)

    def _extend(self, job: Job, row: Row, logits: Any) -> None:
        """Draw one id; tell the caller what there is to tell."""
        sampling = job.sampling
        if job.cancelled:
            row.reason = FinishReason.ABORT
            return
        scores = logits.log_softmax(-1)
        first = not row.ids
        if first and sampling.watch:
            row.watched = tuple(scores[list(sampling.watch)].tolist())
        index = draw(row.matcher.mask(logits) if row.matcher else logits, sampling, row.generator)
        if row.matcher:
            row.matcher.accept(index)
        row.ids.append(index)
        row.logprobs.append(float(scores[index]))
        if sampling.top_logprobs:
            row.top_logprobs.append(likeliest(scores, sampling.top_logprobs))
        if index in self._end_ids or index in sampling.stop_token_ids or self._hits_stop(row, sampling):
            row.reason = FinishReason.STOP
        elif len(row.ids) >= sampling.max_tokens:
            row.reason = FinishReason.LENGTH
        if job.stream:
            job.deliver(Chunk((index,), row.reason, watched=row.watched if first else None))
        elif all(other.reason is not None for other in job.rows):
            job.deliver([completion(done, sampling) for done in job.rows])

    def _hits_stop(self, row: Row, sampling: Sampling) -> bool:
        if not sampling.stop:
            return False
        text = self._tokenizer.decode(row.ids, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in sampling.stop)

    def _score(self, prompt: list[int], completion: list[int], adapter: str | None) -> tuple[float, ...]:
        import torch

        if not completion:
            return ()
        with torch.inference_mode(), self._using(adapter):
            ids = torch.tensor([[*prompt, *completion]], device=self._model.device)
            logits = self._model(input_ids=ids, logits_to_keep=len(completion) + 1).logits[0, :-1].float()
            wanted = ids[0, len(prompt) :, None]
            return tuple(logits.log_softmax(-1).gather(1, wanted)[:, 0].tolist())

    def _load_adapter(self, name: str, path: Path) -> None:
        if hasattr(self._model, "peft_config"):
            try:
                self._model.load_adapter(str(path), adapter_name=name)
            except Exception as error:
                raise misfit(path, "this model", error) from error
        else:
            self._model = _with_adapter(self._model, name, path)

    def _delete_adapter(self, name: str) -> None:
        others = [one for one in self._model.peft_config if one != name]
        if others:
            self._model.set_adapter(others[0])  # peft warns where the one that goes is active
            self._model.delete_adapter(name)
        else:  # peft would look for the last one ever after
            self._model = self._model.unload()

    @contextmanager
    def _using(self, adapter: str | None) -> Iterator[None]:
        if not hasattr(self._model, "peft_config"):
            yield
        elif adapter is None:
            with self._model.disable_adapter():
                yield
        else:
            self._model.set_adapter(adapter)
            yield


def _with_adapter(model: Any, name: str, path: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(path), adapter_name=name).eval()
    except Exception as error:  # as in loading: whatever the libraries trip over
        raise misfit(path, "this model", error) from error

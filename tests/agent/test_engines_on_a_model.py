"""Both in-process engines on one real model: what they promise, and that they agree."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from strop.agent.chat import ChatTemplate
from strop.agent.engines.base import Chunk, Completion, Engine, FinishReason, Sampling
from strop.agent.engines.merge import merged_checkpoint
from strop.agent.engines.transformers import TransformersEngine
from strop.agent.policy import Policy
from strop.tools.errors import EngineError, ModelError, TooLongError, UsageError
from strop.tools.formats import read_calls
from strop.tools.schema import validate_call
from strop.tools.spec import ToolSpec
from strop.tools.structure import calls_structure, json_structure, to_json
from strop.tools.task import Task

pytestmark = [pytest.mark.model, pytest.mark.asyncio(loop_scope="session")]

STORY = "Tell me a story about a lighthouse keeper who collects clocks. "


@pytest.fixture(scope="module")
def prompt(smollm_template: ChatTemplate) -> tuple[int, ...]:
    """About 50 ids."""
    return smollm_template.prompt_ids([{"role": "user", "content": STORY}], ())


@pytest.fixture(scope="module", params=["vllm_engine", "transformers_engine"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def adapter(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA adapter, large enough to change what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    directory = tmp_path_factory.mktemp("adapter")
    get_peft_model(AutoModelForCausalLM.from_pretrained(smollm), config).save_pretrained(directory)
    return directory


def assert_close(ours: Sequence[float], theirs: Sequence[float], tolerance: float = 1e-3) -> None:
    assert len(ours) == len(theirs)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < tolerance


async def greedy(engine: Engine, prompt: tuple[int, ...], **changes: Any) -> Completion:
    [completion] = await engine.generate(prompt, Sampling(**{"max_tokens": 24, "logprobs": True} | changes))
    return completion


async def test_engines_agree_on_ids_and_log_probabilities(
    vllm_engine: Engine, transformers_engine: Engine, prompt: tuple[int, ...]
) -> None:
    ours, theirs = await greedy(vllm_engine, prompt), await greedy(transformers_engine, prompt)
    assert ours.token_ids == theirs.token_ids
    assert_close(ours.logprobs or (), theirs.logprobs or ())
    for scorer in (vllm_engine, transformers_engine):
        assert_close(await scorer.score(prompt, ours.token_ids), ours.logprobs or ())
    assert await transformers_engine.score(prompt, ()) == ()


async def test_chunks_joined_are_what_generate_returns(engine: Engine, prompt: tuple[int, ...]) -> None:
    for sampling in (Sampling(max_tokens=12), Sampling(max_tokens=12, temperature=1.0, seed=5)):
        [whole] = await engine.generate(prompt, sampling)
        chunks: list[Chunk] = [chunk async for chunk in engine.stream(prompt, sampling)]
        assert sum((chunk.token_ids for chunk in chunks), ()) == whole.token_ids
        assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1].finish_reason == whole.finish_reason == FinishReason.LENGTH


async def test_seeds_repeat_among_sixteen_concurrent_requests(
    engine: Engine, prompt: tuple[int, ...]
) -> None:
    async def ask_all() -> list[tuple[int, ...]]:
        requests = [
            engine.generate(prompt[: len(prompt) - i], Sampling(max_tokens=8, temperature=1.0, seed=i))
            for i in range(16)
        ]
        return [completion.token_ids for [completion] in await asyncio.gather(*requests)]

    assert await ask_all() == await ask_all()


async def test_samples_of_one_prompt_differ_and_score_as_they_say(
    engine: Engine, prompt: tuple[int, ...]
) -> None:
    sampling = Sampling(max_tokens=8, temperature=1.5, top_p=0.9, n=4, seed=1, logprobs=True)
    samples = await engine.generate(prompt, sampling)
    assert len({sample.token_ids for sample in samples}) == 4
    assert_close(await engine.score(prompt, samples[0].token_ids), samples[0].logprobs or ())


async def test_greedy_samples_of_one_prompt_are_the_same(engine: Engine, prompt: tuple[int, ...]) -> None:
    """vLLM itself refuses to draw several of them."""
    for temperature in (0.0, 1e-6):
        samples = await engine.generate(prompt, Sampling(max_tokens=6, temperature=temperature, n=3))
        assert [sample.token_ids for sample in samples] == 3 * [samples[0].token_ids]
    assert samples[0].token_ids == (await greedy(engine, prompt, max_tokens=6)).token_ids


async def test_what_ends_a_sample_is_its_last_id(
    engine: Engine, prompt: tuple[int, ...], smollm_template: ChatTemplate
) -> None:
    free = await greedy(engine, prompt)
    stopped = await greedy(engine, prompt, stop_token_ids=(free.token_ids[6],))
    first = free.token_ids.index(free.token_ids[6])
    assert (stopped.token_ids, stopped.finish_reason) == (free.token_ids[: first + 1], FinishReason.STOP)
    word = smollm_template.decode(free.token_ids[6:7])
    by_text = await greedy(engine, prompt, stop=(word,))
    assert by_text.finish_reason == FinishReason.STOP
    assert word in smollm_template.decode(by_text.token_ids)
    assert word not in smollm_template.decode(by_text.token_ids[:-1])


async def test_a_finished_turn_keeps_its_end_id(engine: Engine, smollm_template: ChatTemplate) -> None:
    short = [{"role": "user", "content": "Answer with one word: what is the capital of France?"}]
    done = await greedy(engine, smollm_template.prompt_ids(short, ()), max_tokens=80)
    assert done.finish_reason == FinishReason.STOP
    assert done.token_ids[-1] in smollm_template.end_ids


async def test_the_second_ask_comes_out_of_the_cache(
    vllm_engine: Engine, smollm_template: ChatTemplate
) -> None:
    """vLLM caches on CPUs in blocks of 128 ids."""
    prompt = smollm_template.prompt_ids([{"role": "user", "content": STORY * 12}], ())
    await greedy(vllm_engine, prompt, max_tokens=1)
    assert (await greedy(vllm_engine, prompt, max_tokens=1)).cached_tokens >= 128


async def test_a_cancelled_request_makes_room_at_once(engine: Engine, prompt: tuple[int, ...]) -> None:
    asked = asyncio.create_task(engine.generate(prompt, Sampling(max_tokens=1500)))
    await asyncio.sleep(0.5)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    async with asyncio.timeout(20):  # 1500 tokens take longer
        await greedy(engine, prompt, max_tokens=1)


async def test_requests_that_cannot_be_met_are_refused(engine: Engine, prompt: tuple[int, ...]) -> None:
    with pytest.raises(TooLongError, match="do not fit the context of 2048"):
        await greedy(engine, prompt, max_tokens=2048)
    with pytest.raises(UsageError, match="ids outside the vocabulary of 49152"):
        await greedy(engine, (*prompt, 10**6))
    with pytest.raises(UsageError, match="adapter 'none such' is not loaded"):
        await engine.generate(prompt, Sampling(), adapter="none such")
    with pytest.raises(ModelError, match="no adapter_config"):
        await engine.load_adapter("broken", Path(__file__).parent)


async def test_an_adapter_can_be_loaded_and_changes_only_what_asks_for_it(
    engine: Engine, prompt: tuple[int, ...], adapter: Path
) -> None:
    before = await greedy(engine, prompt, max_tokens=8)
    await engine.load_adapter("tuned", adapter)
    [tuned] = await engine.generate(prompt, Sampling(max_tokens=8), adapter="tuned")
    assert tuned.token_ids != before.token_ids
    assert (await greedy(engine, prompt, max_tokens=8)).token_ids == before.token_ids


async def test_engines_agree_on_an_adapter_loaded_given_or_merged(
    vllm_engine: Engine, prompt: tuple[int, ...], adapter: Path, smollm: Path, tmp_path: Path
) -> None:
    completion = prompt[:20]
    await vllm_engine.load_adapter("scored", adapter)
    loaded = await vllm_engine.score(prompt, completion, adapter="scored")
    killed = tmp_path / ".merging-killed"
    killed.mkdir()
    merged = await merged_checkpoint(smollm, adapter, tmp_path)
    assert not killed.exists()
    assert await merged_checkpoint(smollm, adapter, tmp_path) == merged
    for path, given in ((smollm, adapter), (merged, None)):
        engine = await TransformersEngine.start(path, served_name="x", max_model_len=2048, adapter=given)
        assert_close(await engine.score(prompt, completion), loaded)
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await engine.generate(prompt, Sampling())


async def test_a_policy_answers_with_a_real_model(vllm_engine: Engine, smollm_template: ChatTemplate) -> None:
    tool = ToolSpec("add", "Add numbers.", {"type": "object", "properties": {"a": {"type": "number"}}})
    task = Task("t", ({"role": "user", "content": "Say hello."},), (tool,))
    answer = await Policy(vllm_engine, smollm_template).answer(task, Sampling(max_tokens=30))
    assert answer.final.text
    assert answer.usage.completion_tokens == len(answer.final.token_ids) <= 30


async def test_what_is_watched_is_how_likely_it_is(engine: Engine, prompt: tuple[int, ...]) -> None:
    plain = await greedy(engine, prompt, top_logprobs=5)
    assert plain.logprobs is not None
    assert plain.top_logprobs is not None
    first = plain.token_ids[0]
    assert plain.top_logprobs[0][0][0] == first
    assert [len(step) for step in plain.top_logprobs] == [5] * len(plain.token_ids)
    rare = next(i for i in range(1000, 2000) if i not in dict(plain.top_logprobs[0]))
    watch = (first, rare)
    [expected_rare] = await engine.score(prompt, (rare,))
    free = json_structure({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    for changes in ({}, {"top_logprobs": 2}, {"structure": to_json(free)}, {"logprobs": False}):
        completion = await greedy(engine, prompt, watch=watch, max_tokens=8, **changes)
        assert_close(completion.watched or (), (plain.logprobs[0], expected_rare))
    chunks = [chunk async for chunk in engine.stream(prompt, Sampling(max_tokens=6, watch=watch))]
    told = [chunk.watched for chunk in chunks if chunk.watched is not None]
    assert len(told) == 1
    assert_close(told[0], (plain.logprobs[0], expected_rare))


async def test_a_structure_is_kept_to_whatever_the_model_would_say(
    vllm_engine: Engine,
    transformers_engine: Engine,
    smollm_template: ChatTemplate,
    prompt: tuple[int, ...],
) -> None:
    tool = ToolSpec(
        "clock.set",
        "",
        {
            "type": "object",
            "properties": {
                "hour": {"type": "integer", "minimum": 0, "maximum": 23},
                "zone": {"enum": ["a", "b"]},
            },
            "required": ["hour", "zone"],
        },
    )
    structure = to_json(calls_structure("fenced_json", [tool], parallel=False))
    texts = []
    for engine in (vllm_engine, transformers_engine):
        for temperature in (0.0, 1.5):
            sampling = Sampling(
                200, temperature=temperature, n=4 if temperature else 1, seed=3, structure=structure
            )
            for completion in await engine.generate(prompt, sampling):
                text = smollm_template.decode(completion.token_ids)
                [call] = read_calls(text).calls
                assert validate_call(call, [tool]) == []
                assert completion.finish_reason is FinishReason.STOP
                texts.append(text)
    assert texts[0] == texts[5]  # greedy, by either engine
    with pytest.raises(UsageError):
        await vllm_engine.generate(prompt, Sampling(structure='{"type": "structural_tag"}'))
    with pytest.raises(UsageError):
        await transformers_engine.generate(prompt, Sampling(structure='{"type": "structural_tag"}'))


async def test_an_adapter_that_was_unloaded_is_unknown(
    engine: Engine, adapter: Path, prompt: tuple[int, ...]
) -> None:
    before = await greedy(engine, prompt)
    await engine.load_adapter("passing", adapter)
    await engine.unload_adapter("passing")
    with pytest.raises(UsageError, match="passing"):
        await greedy_with(engine, prompt, "passing")
    with pytest.raises(UsageError, match="passing"):
        await engine.unload_adapter("passing")
    assert (await greedy(engine, prompt)).token_ids == before.token_ids
    await engine.load_adapter("passing", adapter)  # and can come back
    assert (await greedy_with(engine, prompt, "passing")).token_ids != before.token_ids


async def greedy_with(engine: Engine, prompt: tuple[int, ...], adapter: str) -> Completion:
    [completion] = await engine.generate(prompt, Sampling(max_tokens=24), adapter=adapter)
    return completion

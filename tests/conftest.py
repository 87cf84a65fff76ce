"""What tests of several directories share: how long hypothesis searches, and engines on one real model.

Each engine starts once a session; tests that use one run on its loop: ``asyncio(loop_scope="session")``.

Hypothesis searches briefly by default, and for long with `--hypothesis-profile=thorough`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

# Where several processes test side by side, each computes on one core: threads that wait for each other at
# every step take several times as long as soon as somebody else has one of their cores. Torch reads it early.
if WORKER := os.environ.get("PYTEST_XDIST_WORKER", ""):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(os, "sched_getaffinity"):
        CORES = sorted(os.sched_getaffinity(0))
        OWN = CORES[int(WORKER.removeprefix("gw")) % len(CORES)]
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", str(OWN))

import pytest
import pytest_asyncio
from hypothesis import settings

from strop.agent.chat import ChatTemplate
from strop.agent.engines.base import Engine
from strop.agent.models import ModelStore

# No deadline: on a busy machine the first example of a test pays for imports, and time proves nothing.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("quick")

CONTEXT = 2048


@pytest.fixture(scope="session")
def smollm() -> Path:
    """Checkpoint directory of SmolLM2-135M-Instruct, fetched once."""
    return ModelStore().resolve("smollm2-135m").path


@pytest.fixture(scope="session")
def smollm_template(smollm: Path) -> ChatTemplate:
    """Its chat template."""
    return ChatTemplate.load(smollm)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """vLLM on it, with room for adapters up to rank 8; closing it must leave no process behind."""
    from strop.agent.engines.vllm import VllmEngine, quiet

    with quiet():
        pytest.importorskip("vllm", reason="vLLM cannot be installed on every machine")

    cache = tmp_path_factory.mktemp("merged")
    # Figures are compared with those of transformers: in float32 on every machine.
    engine = await VllmEngine.start(
        smollm,
        served_name="smollm",
        max_model_len=CONTEXT,
        max_lora_rank=8,
        engine_args={"dtype": "float32"},
        cache=cache,
    )
    yield engine
    await engine.close()
    gc.collect()  # whatever closing left open is warned of here, and a warning is an error
    assert child_processes() == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def transformers_engine(smollm: Path) -> AsyncIterator[Engine]:
    """transformers on it."""
    from strop.agent.engines.transformers import TransformersEngine

    engine = await TransformersEngine.start(smollm, served_name="smollm", max_model_len=CONTEXT)
    yield engine
    await engine.close()


def child_processes() -> list[str]:
    """Command lines of this process's living children, Python's own resource tracker left out."""
    children = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        for pid in (task / "children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if command and "resource_tracker" not in command:
                children.append(command)
    return children

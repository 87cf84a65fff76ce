"""Engines: tokens in, tokens out. `open_engine` starts the right one; none is imported until needed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.agent.engines.base import Engine
from strop.agent.waiting import waiting
from strop.tools.errors import DataError, EngineError, ModelError, UsageError
from strop.tools.files import read_json

if TYPE_CHECKING:
    from rich.console import Console

KINDS = ("auto", "vllm", "transformers")
"""What `open_engine` takes besides a URL."""


async def open_engine(
    model: Path | str,
    *,
    kind: str = "auto",
    adapter: Path | None = None,
    served_name: str | None = None,
    max_model_len: int = 4096,
    max_lora_rank: int = 0,
    max_adapters: int = 1,
    statistics: bool = False,
    engine_args: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> Engine:
    """Start an engine on the checkpoint directory `model` and say on stderr which one and why.

    `kind` is ``auto`` (vLLM, or transformers where vLLM cannot be imported), ``vllm``, ``transformers``, or
    the base URL of a completions server (API key from ``$STROP_API_KEY``), which `model` then only tokenises
    for. `adapter` becomes part of the model; `max_lora_rank` above 0 makes room for `Engine.load_adapter` in
    vLLM, for `max_adapters` at once; with `statistics` vLLM counts into prometheus_client's registry;
    `engine_args` go to vLLM as they are. `max_model_len` is lowered to what the model can take.

    Raises UsageError for an unknown kind or arguments the engine has no use for, EngineError where it does
    not start, ModelError for a checkpoint or adapter that cannot be read.
    """
    from rich.console import Console  # the command line imports this package to score, too

    model = Path(model)
    console = console or Console(stderr=True)
    name = served_name or model.name
    if kind.startswith(("http://", "https://")):
        if engine_args:
            given = ", ".join(engine_args)
            raise UsageError(f"the engine at {kind} has been started: it takes no arguments, got {given}")
        return await _endpoint(kind, model, name, max_model_len, adapter, console)
    if kind not in KINDS:
        raise UsageError(f"unknown engine {kind!r} (want {', '.join(KINDS)} or a URL)")
    max_model_len = _capped(model, max_model_len, console)
    problem = _vllm_problem() if kind != "transformers" else "it was asked for"
    if problem is None:
        console.print(f"engine: vLLM, {name}{_with(adapter)}", highlight=False)
        with waiting(console, "starting vLLM (on a CPU this takes half a minute)"):
            engine: Engine = await _vllm(
                model,
                served_name=name,
                max_model_len=max_model_len,
                adapter=adapter,
                max_lora_rank=max_lora_rank,
                max_adapters=max_adapters,
                statistics=statistics,
                engine_args=engine_args,
            )
    elif kind == "vllm":
        raise EngineError(f"vLLM cannot be used: {problem}; install strop[vllm] or take engine transformers")
    else:
        console.print(f"engine: transformers, {name}{_with(adapter)} [dim]({problem})[/dim]", highlight=False)
        with waiting(console, "loading the model"):
            engine = await _transformers(model, name, max_model_len, adapter, engine_args)
    console.print(f"engine: ready, {engine.info.detail}, context {engine.info.context_length}")
    return engine


def _with(adapter: Path | None) -> str:
    if adapter is None:
        return ""
    from rich.markup import escape

    from strop.agent.shipped import shipped_adapter

    own = adapter == shipped_adapter(adapter.name)
    return " with the adapter shipped for it" if own else f" with the adapter {escape(str(adapter))}"


async def _vllm(model: Path, **options: Any) -> Engine:
    """`options` are those of `VllmEngine.start`."""
    from strop.agent.engines.vllm import VllmEngine
    from strop.agent.models import cache_directory

    return await VllmEngine.start(model, cache=cache_directory() / "merged", **options)


async def _transformers(
    model: Path, name: str, max_model_len: int, adapter: Path | None, engine_args: Mapping[str, Any] | None
) -> Engine:
    from strop.agent.engines.transformers import TransformersEngine

    if engine_args:
        raise UsageError(f"the transformers engine takes no engine arguments, got {', '.join(engine_args)}")
    return await TransformersEngine.start(
        model, served_name=name, max_model_len=max_model_len, adapter=adapter
    )


async def _endpoint(
    url: str, model: Path, name: str, max_model_len: int, adapter: Path | None, console: Console
) -> Engine:
    from strop.agent.chat import ChatTemplate
    from strop.agent.engines.endpoint import EndpointEngine

    if adapter is not None:
        raise UsageError(f"adapter {adapter} cannot be used through {url}: start that server with it")
    engine = await EndpointEngine.connect(
        url,
        model=name,
        context_length=max_model_len,
        api_key=os.environ.get("STROP_API_KEY"),
        template=ChatTemplate.load(model) if model.is_dir() else None,
        say=console.print,
    )
    console.print(f"engine: {url}, model {engine.info.model}, context {engine.info.context_length}")
    return engine


def _vllm_problem() -> str | None:
    """Why vLLM cannot be imported; None where it can."""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed"
    from strop.agent.engines.vllm import quiet, set_environment

    set_environment()
    try:
        with quiet():
            import vllm  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # builds that do not fit torch
        return f"importing vLLM fails: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return None


def _capped(model: Path, max_model_len: int, console: Console) -> int:
    """`max_model_len`, or what the checkpoint's configuration allows where that is less."""
    try:
        longest = read_json(model / "config.json").get("max_position_embeddings")
    except (DataError, AttributeError) as error:
        raise ModelError(f"{model} is no checkpoint: {error}") from error
    if not isinstance(longest, int) or longest >= max_model_len:
        return max_model_len
    console.print(f"engine: the model takes at most {longest} tokens, not {max_model_len}")
    return longest

"""``strop serve``: an OpenAI-compatible endpoint that refines its tool calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from strop.agent.cli.options import (
    DEFAULT_MODEL,
    AdapterOption,
    ContextOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
    UntrainedOption,
)

_WHERE, _SCALE, _REFINING, _BOUNDS = "Address", "Engines and adapters", "Refinement", "Limits"


def serve(
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    untrained: UntrainedOption = False,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_WHERE)] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", rich_help_panel=_WHERE)
    ] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="STROP_API_KEY", help="Key that clients must send.", rich_help_panel=_WHERE),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="More keys, one a line.", rich_help_panel=_WHERE),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Web pages that may send requests, e.g. https://app.example, or *; may be repeated.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    served_model_name: Annotated[
        str, typer.Option(metavar="NAME", help="What clients call the model.", rich_help_panel=_WHERE)
    ] = "",
    refine: Annotated[
        str,
        typer.Option(
            metavar="off|adaptive|N", help="For requests that say nothing.", rich_help_panel=_REFINING
        ),
    ] = "off",
    stop_threshold: Annotated[
        float,
        typer.Option(
            min=0, help="Probability of the stop from which a check ends.", rich_help_panel=_REFINING
        ),
    ] = 0.5,
    gate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Drafts that go unchecked: see strop calibrate.", rich_help_panel=_REFINING
        ),
    ] = None,
    refine_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Most time for one refined answer.", rich_help_panel=_REFINING),
    ] = None,
    refine_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Most tokens of all drafts of one answer.", rich_help_panel=_REFINING),
    ] = None,
    tool_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="How the model writes calls, over what its template says.",
            rich_help_panel=_REFINING,
        ),
    ] = None,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 4096,
    tensor_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="GPUs that share each layer.", rich_help_panel=_SCALE)
    ] = None,
    pipeline_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="Groups of GPUs that share the layers.", rich_help_panel=_SCALE)
    ] = None,
    data_parallel_size: Annotated[
        int | None, typer.Option(min=1, help="Copies of the model.", rich_help_panel=_SCALE)
    ] = None,
    engine_arg: EngineFlags = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Adapter served beside the model; may be repeated.",
            rich_help_panel=_SCALE,
        ),
    ] = None,
    max_loras: Annotated[
        int | None,
        typer.Option(
            min=1, help="Adapters computed together; default: as many as --lora.", rich_help_panel=_SCALE
        ),
    ] = None,
    max_lora_rank: Annotated[
        int, typer.Option(min=1, help="Largest rank of an adapter.", rich_help_panel=_SCALE)
    ] = 32,
    hot_loras: Annotated[
        bool,
        typer.Option(
            "--hot-loras",
            help="Let clients load this machine's adapters, and unload them.",
            rich_help_panel=_SCALE,
        ),
    ] = False,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Server that runs the model instead (key: $STROP_BACKEND_KEY); may be repeated.",
            rich_help_panel=_SCALE,
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1, help="Serve with Ray Serve, with so many copies of it all.", rich_help_panel=_SCALE
        ),
    ] = None,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Most requests at once; others get 429.", rich_help_panel=_BOUNDS)
    ] = 1024,
    request_timeout: Annotated[
        float, typer.Option(min=0.1, help="Most seconds for a request; then 504.", rich_help_panel=_BOUNDS)
    ] = 600.0,
) -> None:
    """Serve a model to any OpenAI client until Ctrl-C or SIGTERM."""
    from strop.agent.adapter import require_adapter
    from strop.agent.cli.parsing import adapters_of, api_keys_of, engine_args
    from strop.agent.cli.serving import ServeSettings, run_serve
    from strop.agent.loading import PolicySource
    from strop.agent.refinement import parse_refine
    from strop.agent.server.guard import Limits
    from strop.agent.shipped import default_adapter
    from strop.refine.assurance import read_gate
    from strop.refine.refiner import Stopping

    sizes = {
        "tensor_parallel_size": tensor_parallel_size,
        "pipeline_parallel_size": pipeline_parallel_size,
        "data_parallel_size": data_parallel_size,
    }
    arguments: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    adapters = adapters_of(lora)
    elsewhere = bool(backend) or "://" in engine
    if not elsewhere:
        for _, directory in adapters:
            require_adapter(directory)
    adapter = adapter or default_adapter(model, untrained=untrained, elsewhere=elsewhere)
    wants_adapters = bool(adapters) or hot_loras or max_loras is not None
    settings = ServeSettings(
        source=PolicySource(
            model,
            adapter,
            engine,
            max_model_len,
            arguments | engine_args(engine_arg),
            call_format=tool_format,
            max_lora_rank=max_lora_rank if wants_adapters else 0,
            max_adapters=max_loras or max(1, len(adapters)),
            backends=tuple(backend or ()),
            serving=True,
        ),
        name=served_model_name,
        refine=parse_refine(refine),
        stopping=Stopping(
            threshold=stop_threshold,
            gate=None if gate is None else read_gate(gate),
            token_budget=refine_tokens,
            seconds=refine_seconds,
        ),
        adapters=adapters,
        hot_adapters=hot_loras,
        api_keys=api_keys_of(api_key, api_key_file),
        cors_origins=tuple(cors_origin or ()),
        limits=Limits(requests=max_requests, seconds=request_timeout),
    )
    if replicas is None:
        run_serve(settings, host, port)
    else:
        from strop.agent.cli.ray_serving import run_ray_serve

        run_ray_serve(settings, host, port, replicas)

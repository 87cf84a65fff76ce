"""``strop serve``: an OpenAI-compatible endpoint that refines its tool calls."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.agent.cli.options import (
    DEFAULT_MODEL,
    AdapterOption,
    ContextOption,
    EngineFlags,
    EngineOption,
    ModelArgument,
    RefineOption,
)


def serve(
    model: ModelArgument = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    refine: RefineOption = "off",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar="STROP_API_KEY", help="Key that clients must send.")
    ] = None,
    engine: EngineOption = "auto",
    max_model_len: ContextOption = 4096,
    engine_arg: EngineFlags = None,
) -> None:
    """Serve a model to any OpenAI client until Ctrl-C or SIGTERM."""
    import asyncio

    from strop.agent.cli.parsing import engine_args
    from strop.agent.loading import PolicySource, load_policy
    from strop.agent.refinement import parse_refine
    from strop.agent.server.app import create_app
    from strop.agent.server.roster import Roster, ServedModel
    from strop.agent.server.run import bind, run_server
    from strop.agent.server.served import Served
    from strop.refine.choice import answerer_for

    source = PolicySource(model, adapter, engine, max_model_len, engine_args(engine_arg))
    setting = parse_refine(refine)

    async def run() -> None:
        # The address first: a taken port should not cost the minute an engine takes to start.
        with bind(host, port) as listening:
            async with load_policy(source) as loaded:
                first = ServedModel(
                    loaded.policy, lambda wanted: answerer_for(loaded.policy, loaded.profile, wanted)
                )
                # An empty variable is an unset one.
                served = Served(Roster(first), refine=setting, api_keys=(api_key,) if api_key else ())
                await run_server(create_app(served), listening)

    asyncio.run(run())

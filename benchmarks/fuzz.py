"""Schemathesis against the served OpenAPI document: requests of every kind, and no 500 among the answers.

    python benchmarks/fuzz.py [--examples 4000] [--seed 1]

`examples` requests are drawn for each route, from the document and mutated against it, and sent to the real
app over HTTP; a scripted model writes the answers, so that it is the surface that is tried. Prints
Schemathesis' own report and exits as it does.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path

from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.server.app import create_app
from strop.agent.server.run import running
from strop.agent.server.served import Served
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.agent.server.serving import roster_over

ANSWERS = [
    ("Sure.", 4.0),
    (FORMATS["fenced_json"].render([ToolCall("f", {"a": 1})]), 2.0),
    ('{"a": 1}', 1.0),
    ("DONE", 1.0),
]


def served() -> Served:
    return Served(roster_over(ScriptedEngine(lambda _: ANSWERS), "m"), hot_adapters=True)


async def main() -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    async with running(create_app(served())) as url:
        words = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
        words += ["--checks", "not_a_server_error", "--max-examples", str(options.examples)]
        words += ["--seed", str(options.seed), "--mode", "all", "--continue-on-failure"]
        return await asyncio.to_thread(lambda: subprocess.run(words, check=False).returncode)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

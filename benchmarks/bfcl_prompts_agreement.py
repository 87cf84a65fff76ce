"""Are the prompts of BFCL's format sensitivity the official ones?

    python benchmarks/bfcl_prompts_agreement.py --official PYTHON

PYTHON is the interpreter of an environment with bfcl-eval and all it depends on (see bfcl_scoring.py).
Compared are the ids, their order and every message of the 5,200 tasks, but for the sentence on its language
that the official command adds to every tool's description. Prints what differs; exits 1 if something does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

from strop.tools.bfcl.overall import FORMAT_SENSITIVITY
from strop.tools.bfcl.suite import load_suite

OFFICIAL = """
import json
from bfcl_eval.model_handler.utils import system_prompt_pre_processing_chat_model
from bfcl_eval.utils import load_dataset_entry
for entry in load_dataset_entry("format_sensitivity"):
    name = entry["id"]
    told = system_prompt_pre_processing_chat_model(entry["question"][0], entry["function"], name)
    print(json.dumps([name, told]))
"""


LANGUAGE = re.compile(r" Note that the provided function is in Python [^.]*\.")


def official_prompts(python: str) -> dict[str, list[dict[str, str]]]:
    """Messages by id, in the official order."""
    with tempfile.TemporaryDirectory() as root:
        environment = {**os.environ, "BFCL_PROJECT_ROOT": root}
        done = subprocess.run(
            [python, "-c", OFFICIAL], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    lines = (line for line in done.stdout.splitlines() if line.startswith('["'))
    return {name: [_without_language(one) for one in told] for name, told in map(json.loads, lines)}


def _without_language(message: dict[str, str]) -> dict[str, str]:
    return message | {"content": LANGUAGE.sub("", message["content"])}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", required=True, help="interpreter with bfcl-eval installed")
    theirs = official_prompts(parser.parse_args().official)
    ours = {case.task.id: list(case.task.messages) for case in load_suite([FORMAT_SENSITIVITY]).cases}
    differences = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
    for name in differences[:3]:
        print(f"{name}\n    official {theirs.get(name)}\n    Strop    {ours.get(name)}")
    order = "the same" if list(ours) == list(theirs) else "another"
    print(f"{len(theirs):,} official prompts, {len(differences):,} differences, {order} order")
    return 1 if differences or order != "the same" else 0


if __name__ == "__main__":
    sys.exit(main())

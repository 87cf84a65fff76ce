"""GGUF → an ordinary checkpoint, in a process of its own.

transformers reads a GGUF file into memory in full precision; a separate process gives all of it back when
it ends, and keeps torch out of the caller. The child watches its standard input: when the parent is gone,
so is it.

Weights become bfloat16: the quantised values, not the originals the GGUF was made from.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from strop.tools.errors import ModelError


class Converter(Protocol):
    """Turns a GGUF file into a checkpoint directory: `convert_gguf`, or a test's own."""

    def __call__(self, gguf: Path, out: Path, *, step: Callable[[str], None]) -> None: ...


_STEP = "strop-step: "
"""Marks the child's progress lines among whatever libraries print."""


def convert_gguf(gguf: Path, out: Path, *, step: Callable[[str], None] = lambda _: None) -> None:
    """Write the checkpoint (config, safetensors, tokenizer) of `gguf` into the new directory `out`.

    `step` is told what is going on, for people. On failure `out` may hold a part: the caller removes it.
    Raises ModelError with the last line of what went wrong, a full disk included.
    """
    command = [sys.executable, "-P", "-m", "strop.agent.convert", str(gguf), str(out)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(_STEP):
                    step(line.removeprefix(_STEP).strip())
            status = process.wait()
        finally:
            process.kill()
            process.communicate()
        if status != 0:
            log.seek(0)
            raise ModelError(f"{gguf.name} could not be converted: {_reason(log.read(), status)}")


def _reason(log: str, status: int) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if status == -signal.SIGKILL:
        return "the converter was killed, most likely because memory ran out"
    last = lines[-1] if lines else f"the converter ended with status {status}"
    full = "No space left" in last
    return f"{last}. Free some space and start again: nothing is fetched twice" if full else last


def main() -> None:
    """The child: ``python -m strop.agent.convert GGUF OUT``."""
    gguf, out = Path(sys.argv[1]), Path(sys.argv[2])
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _say("reading the weights")
    quantization = GgufConfig(gguf_file=gguf.name, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, quantization_config=quantization, dtype=torch.bfloat16
    )
    _say("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    _say("writing the checkpoint")
    model.save_pretrained(str(out))
    tokenizer.save_pretrained(str(out))


def _say(what: str) -> None:
    sys.stdout.write(f"{_STEP}{what}\n")
    sys.stdout.flush()


def _die_with_parent() -> None:
    os.read(0, 1)  # returns at end of file only; sys.stdin would hold a lock the interpreter wants on exit
    os._exit(1)


if __name__ == "__main__":
    main()

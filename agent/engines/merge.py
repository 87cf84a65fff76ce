"""A LoRA adapter folded into its model: one checkpoint, as fast as the model alone.

vLLM's LoRA kernels make the CPU build several times slower, so there an adapter is merged once and kept
below the cache directory, keyed by what is in both. Merging needs the model in memory, so it happens in a
process of its own (``python -m strop.agent.engines.merge MODEL ADAPTER OUT``) that gives everything back when
it ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from strop.agent.adapter import require_adapter
from strop.agent.checkpoint import fingerprint
from strop.agent.lock import exclusive
from strop.tools.errors import ModelError, RunError

KEPT = 2
"""Merged checkpoints kept in the cache: each is as large as the model in float32, and every round of training
makes another."""


async def merged_checkpoint(model: Path, adapter: Path, cache: Path) -> Path:
    """The checkpoint directory of `adapter` merged into `model` in float32, made where it does not exist yet.

    Safe against kills and against two processes merging at once: the directory appears whole, and what a
    kill left unfinished is deleted by the next. Raises ModelError where the two do not fit together, RunError
    where the disk refuses.
    """
    require_adapter(adapter)
    merged = cache / f"{fingerprint(model)}-{fingerprint(adapter)}"
    try:
        with exclusive(cache / "merging.lock"):
            for unfinished in cache.glob(".merging-*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            if not merged.is_dir():
                scratch = Path(tempfile.mkdtemp(dir=cache, prefix=".merging-"))
                try:
                    await _merge_in_subprocess(model, adapter, scratch)
                    scratch.rename(merged)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
            os.utime(merged)
            _forget_old(cache)
    except OSError as error:
        raise RunError(f"cannot write below {cache}: {error.strerror or error}") from error
    return merged


async def _merge_in_subprocess(model: Path, adapter: Path, out: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "strop.agent.engines.merge", str(model), str(adapter), str(out)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {process.returncode}, out of memory perhaps"
        raise ModelError(f"adapter {adapter} cannot be merged into {model}: {reason}")


def _forget_old(cache: Path) -> None:
    """Delete all but the `KEPT` merged checkpoints used last; whoever has one open keeps its files."""
    merged = [path for path in cache.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for path in sorted(merged, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def merge(model: Path, adapter: Path, out: Path) -> None:
    """Fill the existing directory `out` with the merged float32 weights and the model's other files."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    for file in model.iterdir():
        if file.is_file() and not file.name.endswith((".safetensors", ".bin", ".index.json")):
            shutil.copy2(file, out / file.name)
    merged.save_pretrained(out)


if __name__ == "__main__":
    merge(*map(Path, sys.argv[1:4]))

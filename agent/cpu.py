"""What this machine's CPU can do, as far as it decides which number format is the fast one."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512"}
"""What multiplies bfloat16, by its flag: tiles of matrices (Intel's AMX), and dot products of vectors
(AVX-512, most AMD CPUs since 2022). The faster first."""


def bfloat16_unit(cpuinfo: Path = CPUINFO) -> str | None:
    """The best of `UNITS` the CPU has; None where it has none, or that cannot be told."""
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return None
    return next((unit for flag, unit in UNITS.items() if flag in flags), None)


def multiplies_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware; False where that cannot be told.

    Where it does not, float32 products are the faster ones (see docs/log.md).
    """
    return bfloat16_unit(cpuinfo) is not None

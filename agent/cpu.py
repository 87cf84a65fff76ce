"""What this machine's CPU can do, as far as it decides which number format is the fast one."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FLAGS = ("amx_bf16", "avx512_bf16")
"""Of matrix tiles (Intel's AMX), and of dot products of vectors (AVX-512, most AMD CPUs since 2022)."""


def multiplies_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (`FLAGS`); False where that cannot be told.

    Where it does not, float32 products are the faster ones (see docs/log.md).
    """
    try:
        flags = cpuinfo.read_text().split()
    except OSError:
        return False
    return any(flag in flags for flag in FLAGS)

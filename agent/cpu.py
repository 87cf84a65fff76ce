"""What this machine's CPU can do, as far as it decides which number format is the fast one."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def multiplies_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (AMX); False where that cannot be told.

    Where it does not, float32 products are the faster ones (see docs/log.md).
    """
    try:
        return "amx_bf16" in cpuinfo.read_text()
    except OSError:
        return False

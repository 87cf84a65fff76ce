from __future__ import annotations

from pathlib import Path

import pytest

from strop.agent.cpu import bfloat16_unit, multiplies_bfloat16


@pytest.mark.parametrize(
    ("flags", "unit"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", "AMX"),
        ("fpu amx_bf16", "AMX"),
        ("fpu avx512_bf16", "AVX-512"),
        ("fpu avx512f avx512_vnni", None),
        ("fpu avx512_bf16x", None),
    ],
)
def test_only_a_cpu_with_a_flag_for_it_multiplies_bfloat16(
    tmp_path: Path, flags: str, unit: str | None
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t: {flags}\n")
    assert bfloat16_unit(cpuinfo) == unit
    assert multiplies_bfloat16(cpuinfo) is (unit is not None)


def test_where_it_cannot_be_told_it_does_not(tmp_path: Path) -> None:
    assert not multiplies_bfloat16(tmp_path / "no such file")

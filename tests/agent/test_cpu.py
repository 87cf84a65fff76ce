from __future__ import annotations

from pathlib import Path

import pytest

from strop.agent.cpu import multiplies_bfloat16


@pytest.mark.parametrize(
    ("flags", "does"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", True),
        ("fpu amx_bf16", True),
        ("fpu avx512_bf16", True),
        ("fpu avx512f avx512_vnni", False),
        ("fpu avx512_bf16x", False),
    ],
)
def test_only_a_cpu_with_a_flag_for_it_multiplies_bfloat16(tmp_path: Path, flags: str, does: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t: {flags}\n")
    assert multiplies_bfloat16(cpuinfo) is does


def test_where_it_cannot_be_told_it_does_not(tmp_path: Path) -> None:
    assert not multiplies_bfloat16(tmp_path / "no such file")

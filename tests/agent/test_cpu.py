from __future__ import annotations

from pathlib import Path

from strop.agent.cpu import multiplies_bfloat16


def test_only_a_cpu_with_the_flag_multiplies_bfloat16(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t: fpu avx512_bf16 amx_bf16 amx_tile\n")
    assert multiplies_bfloat16(cpuinfo)
    cpuinfo.write_text("flags\t: fpu avx512_bf16\n")
    assert not multiplies_bfloat16(cpuinfo)
    assert not multiplies_bfloat16(tmp_path / "no such file")

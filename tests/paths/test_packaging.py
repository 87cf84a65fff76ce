"""What a user installs: the wheel, alone, in a clean environment, away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and its light dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    venv.create(folder / "env", with_pip=True)
    (wheel,) = folder.glob("strop-*.whl")
    run(folder / "env/bin/python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return folder


@pytest.mark.model
def test_the_wheel_imports_without_torch_or_transformers(clean: Path) -> None:
    code = (
        "import sys, strop.tools.task, strop.agent.policy, strop.agent.server.app, strop.agent.remote, "
        "strop.agent.bench, strop.refine.refiner, strop.refine.collect, strop.training.synth, "
        "strop.training.config, strop.agent.cli\n"
        "assert not {'torch', 'transformers', 'vllm', 'trl'} & set(sys.modules)\n"
        "print(strop.tools.task.__file__)"
    )
    where = run(clean / "env/bin/python", "-c", code, cwd=clean)
    assert str(clean) in where


@pytest.mark.model
def test_the_wheel_carries_its_data_files(clean: Path) -> None:
    assert "qwen2.5-coder-0.5b" in run(clean / "env/bin/strop", "models", "list", cwd=clean)
    run(clean / "env/bin/strop", "data", "synthesise", "--n", "3", "--out", clean / "tasks.jsonl", cwd=clean)
    assert len((clean / "tasks.jsonl").read_text().splitlines()) == 3


def test_help_answers_in_under_a_second() -> None:
    strop = Path(sys.executable).with_name("strop")

    def seconds() -> float:
        began = time.perf_counter()
        run(strop, "--help", cwd=ROOT)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 1.0

from __future__ import annotations

from pathlib import Path

import pytest

from strop.tools.errors import DataError
from strop.training.config import EngineTable, read_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return read_config(path)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_examples_are_valid(path: Path) -> None:
    assert read_config(path).rounds >= 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tasks]\nsynthesise = 50\n[collect]\nsample = 3\n", "unknown key sample"),
        ("[tasks]\nsynthesise = 50\n[collect.search]\nwidht = 3\n", "unknown key search.widht"),
        ("[tasks]\nsynthesise = 50\n[train]\nlr = 3\n", "unknown key lr"),
        ("modle = 'x'\n[tasks]\nsynthesise = 50\n", "modle"),
        ("[tasks]\n", "either 'file' or 'synthesise'"),
        ("[tasks]\nsynthesise = 20\nheld_out = 20\n", "exceed"),
        ("[tasks]\nsynthesise = 50\n[train]\nlearning_rate = -1\n", "learning_rate must be above 0"),
        ("[engine]\nexecutor = 'cloud'\n[tasks]\nsynthesise = 50\n", "engine.executor"),
        (
            "[engine]\nkind = 'http://here/v1'\n[tasks]\nsynthesise = 50\n",
            "engine.kind: a round loads",
        ),
        ("[engine]\nworkers = 0\n[tasks]\nsynthesise = 50\n", "engine.workers"),
        ("[tasks\n", "not TOML"),
        ("[tasks]\nsynthesise = 50\n[collect]\nselect = ['bnad']\n", "unknown selection 'bnad'"),
        ("[tasks]\nsynthesise = 50\n[collect]\nselect = []\n", "select is empty"),
        ("[tasks]\nsynthesise = 50\n[collect]\nselect = 'band'\n", "collect.*select"),
        ("[train_with]\ntrack = ['wandbb']\n[tasks]\nsynthesise = 50\n", "unknown tracker 'wandbb'"),
        ("[train_with]\nlauncher = []\n[tasks]\nsynthesise = 50\n", "unknown key train_with.launcher"),
        ("[tasks]\nsynthesise = 50\n[corpus.train]\nrank = 0\n", "corpus.train: rank must be at least 1"),
        ("[tasks]\nsynthesise = 50\n[train]\nepochs = inf\n", "train: epochs must be above 0, and finite"),
        ("[tasks]\nsynthesise = 50\n[train]\nmax_grad_norm = inf\n", "max_grad_norm must be .* finite"),
        ("[tasks]\nsynthesise = 50\n[train]\nseed = -1\n", r"seed must be in \[0, 2\*\*32\)"),
        ("seed = -1\n[tasks]\nsynthesise = 50\n", "seed: Input should be greater"),
        (
            "[train_with]\nlaunch = 'accelerate'\n[tasks]\nsynthesise = 50\n",
            "train_with.launch must be a list",
        ),
        ("rounds = 0\n[tasks]\nsynthesise = 50\n", "rounds"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path, text)
    assert "config.toml" in str(caught.value)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[tasks]\nfile = 'tasks.jsonl'\n")
    assert read_config(path).tasks.file == tmp_path / "tasks.jsonl"


def test_a_selection_is_a_list_of_strategies(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[tasks]\nsynthesise = 50\n[collect]\nselect = ["band:solvable", "random:9"]\n')
    assert read_config(path).collect.select == ("band:solvable", "random:9")


def test_who_collects_is_no_part_of_what_answers_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[tasks]\nsynthesise = 50\n[engine]\nexecutor = 'ray'\nworkers = 8\n")
    engine = read_config(path).engine
    assert (engine.executor, engine.workers) == ("ray", 8)
    assert engine.generates_with() == EngineTable().model_dump(include={"kind", "max_model_len", "args"})

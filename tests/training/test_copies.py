"""Training refuses what repeats a benchmark, says how to go on, and writes down what it looked at."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from strop.agent.cli.train import app
from strop.tools.bfcl.suite import load_suite
from strop.tools.corpus import data_here
from strop.tools.errors import DataError, UsageError
from strop.tools.files import read_json, read_jsonl, write_jsonl
from strop.tools.task import Gold, Task, tasks_to_rows
from strop.training.config import RoundConfig, TasksTable, WarmupTable
from strop.training.copies import refuse_copies, yardsticks_here
from strop.training.round import SCREENING, Accepted, Rounds
from strop.training.run import RunDirectory
from strop.training.synth import synthesise
from tests.tools.native import QUESTION, WRITERS
from tests.training.tiny import pairs, tiny_checkpoint

needed = {"bfcl_eval": "the benchmark", "datasketch": "strop[data]"}
missing = [f"{name} ({what})" for name, what in needed.items() if util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def copied(name: str) -> Task:
    return Task(name, ({"role": "user", "content": QUESTION},), (), Gold((), "Gladly."))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BFCL and Seal-Tools of a task each, as the only benchmarks whose data are here."""
    for name in ("bfcl", "sealtools"):
        data = tmp_path / name
        data.mkdir()
        WRITERS[name](data)
        monkeypatch.setenv(f"STROP_{name.upper()}_DATA", str(data))
    return tmp_path


def test_a_benchmarks_own_question_stops_training() -> None:
    stolen = load_suite(["multiple"], limit=1).cases[0].task
    # Its question alone, under another name and with other tools.
    task = Task("mine", stolen.messages, (), None)
    with pytest.raises(
        UsageError, match=r"1 of 1 tasks .*1 questions.*mine: question, exact of bfcl multiple_0.*--go"
    ):
        refuse_copies([task], allowed=False, lifted_by="--go")


def test_tasks_of_strops_own_making_are_no_copies() -> None:
    screening = refuse_copies(synthesise(200, 1, None), allowed=False, lifted_by="--go")
    assert (screening["tasks"], screening["copies"], screening["allowed"]) == (200, [], False)
    assert screening["compared"].keys() == {"bfcl"}
    assert "STROP_ACEBENCH_DATA" in screening["not_compared"]["acebench"]


def test_every_benchmark_whose_data_are_here_stops_training(small: Path) -> None:
    assert data_here() == {name: small / name for name in ("bfcl", "sealtools")}
    with pytest.raises(UsageError, match=r"exact of bfcl simple_python_0; mine: .*of sealtools easy-0"):
        refuse_copies([copied("mine")], allowed=False, lifted_by="--go")
    kept = refuse_copies([copied("mine")], allowed=True, lifted_by="--go")
    assert kept["allowed"]
    assert [(one["benchmark"], one["tasks"]) for one in kept["copies"]] == [("bfcl", 1), ("sealtools", 1)]
    assert "no such BFCL v4 file" in kept["compared"]["bfcl"]["left_out"]["multiple"]
    assert kept == json.loads(json.dumps(kept))


def test_a_variable_that_names_a_wrong_place_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROP_TOOLALPACA_DATA", "/nowhere")
    with pytest.raises(DataError, match=r"nothing of toolalpaca to compare with: /nowhere/eval_simulated"):
        yardsticks_here()


def rounds(file: Path, run: RunDirectory, *, allow: bool) -> Rounds:
    config = RoundConfig(tasks=TasksTable(file=file, held_out=8, allow_copies=allow))
    return Rounds(config, run, Console(quiet=True))


def test_a_round_refuses_and_records(small: Path) -> None:
    file = small / "tasks.jsonl"
    write_jsonl(file, tasks_to_rows([*synthesise(20, 1, None), copied("mine")]))
    path = small / "run"
    with RunDirectory(path, resume=False) as run:
        for _ in range(2):
            refusing = rounds(file, run, allow=False)
            train_on, held_out = refusing.tasks()
            with pytest.raises(UsageError, match=r"1 of 21 tasks .*tasks\.allow_copies = true"):
                refusing.screen([*train_on, *held_out])
        rounds(file, run, allow=True).screen([*train_on, *held_out])
    assert read_json(path / SCREENING)["repeating"] == 1
    (event,) = (row for _, row in read_jsonl(path / "events.jsonl")[0] if row["event"] == "screened")
    assert event["compared"].keys() == {"bfcl", "sealtools"}
    assert event["allowed"] is True


def test_a_warm_up_that_learned_copies_is_done_again_where_they_are_refused(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, policy = WarmupTable(file=small / "tasks.jsonl"), Accepted(None, "as it came")
    write_jsonl(small / "tasks.jsonl", tasks_to_rows([copied("mine")]))

    def warming(run: RunDirectory, *, allow: bool) -> Rounds:
        tasks = TasksTable(synthesise=50, allow_copies=allow)
        return Rounds(RoundConfig(tasks=tasks, warmup=table), run, Console(quiet=True))

    with RunDirectory(small / "run", resume=False) as run:
        lax, strict = warming(run, allow=True), warming(run, allow=False)
        with run.stage("0.train", lax._warm_up_key(table, policy, [])):
            pass
        assert lax._lessons(policy, []) is None
        with pytest.raises(UsageError, match=r"tasks\.allow_copies = true"):
            strict._lessons(policy, [])
        # Likewise where other benchmarks are here than it was compared with.
        monkeypatch.delenv("STROP_SEALTOOLS_DATA")
        assert lax._lessons(policy, []) is not None


def trained(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.mark.model
def test_commands_refuse_and_write_down_what_they_looked_at(small: Path) -> None:
    model = tiny_checkpoint(small / "tiny")
    tasks = small / "tasks.jsonl"
    write_jsonl(tasks, tasks_to_rows([copied("mine")]))
    refused = trained("sft", model, "--data", tasks, "--out", small / "out")
    assert isinstance(refused.exception, UsageError)
    assert "mine: question, exact of bfcl" in str(refused.exception)
    assert not (small / "out").exists()
    rows = [
        {
            "id": one.id,
            "prompt_ids": one.prompt_ids,
            "chosen_ids": one.chosen_ids,
            "rejected_ids": one.rejected_ids,
        }
        for one in pairs(4)
    ]
    write_jsonl(small / "pairs.jsonl", rows)
    result = trained(
        "dpo", model, "--data", small / "pairs.jsonl", "--out", small / "out", "--batch-size", "4"
    )
    assert result.exit_code == 0, result.output
    assert "compared with bfcl, sealtools; not with acebench, apibank, toolalpaca" in result.output
    screening = read_json(small / "out" / "train_summary.json")["screening"]
    assert (screening["tasks"], screening["repeating"], screening["allowed"]) == (4, 0, False)

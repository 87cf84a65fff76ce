from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from strop.tools.errors import RunError, UsageError
from strop.training.run import RunDirectory, stage_key


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (path / "events.jsonl").read_text().splitlines()]


def test_a_finished_stage_is_done_under_its_own_key_only(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, resume=False) as run:
        with run.stage("bench", "one"):
            pass
        assert run.is_done("bench", "one")
        assert not run.is_done("bench", "two")


def test_a_failed_stage_is_not_done_and_says_why(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, resume=False) as run:
        with pytest.raises(RunError), run.stage("bench", "one"):
            raise RunError("no space left")
        assert not run.is_done("bench", "one")
    last = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["reason"]) == ("stage_failed", "no space left")


def test_an_interrupted_stage_keeps_its_output_for_the_same_key(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def interrupted(run: RunDirectory) -> None:
        with run.stage("bench", "one", out):
            out.mkdir()
            raise KeyboardInterrupt

    with RunDirectory(tmp_path, resume=False) as run:
        with pytest.raises(KeyboardInterrupt):
            interrupted(run)
        with run.stage("bench", "one", out):
            assert out.exists()


def test_output_made_under_another_key_is_removed_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunDirectory(tmp_path, resume=False) as run:
        with run.stage("bench", "one", out):
            out.mkdir()
        with run.stage("bench", "two", out):
            assert not out.exists()


def test_output_that_a_change_leaves_valid_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunDirectory(tmp_path, resume=False) as run:
        with run.stage("collect", "gate one", out, kept_by="samples"):
            out.mkdir()
        assert not run.is_done("collect", "gate two")
        with run.stage("collect", "gate two", out, kept_by="samples"):
            assert out.exists()
        with run.stage("collect", "gate two", out, kept_by="other samples"):
            assert not out.exists()


def test_a_stage_that_is_forgotten_is_to_be_done_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunDirectory(tmp_path, resume=False) as run:
        with run.stage("train", "one", out):
            out.mkdir()
        run.forget("train", out)
        assert not out.exists()
        assert not run.is_done("train", "one")
        run.forget("train", out)


class Interrupts(type(Path())):  # type: ignore[misc]  # Path itself before Python 3.12 has no subclasses
    """A path whose removal is broken off."""

    def __fspath__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("removes", ["stage", "forget"])
def test_a_removal_that_is_broken_off_leaves_nothing_that_counts(removes: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with RunDirectory(tmp_path, resume=False) as run:
        with run.stage("train", "one", first, second):
            first.mkdir()
            second.mkdir()
        outputs = (first, Interrupts(tmp_path / "between"), second)
        again = run.stage("train", "two", *outputs).__enter__
        with pytest.raises(KeyboardInterrupt):
            run.forget("train", *outputs) if removes == "forget" else again()
        assert (first.exists(), second.exists()) == (False, True)
        assert not run.is_done("train", "one")
        with run.stage("train", "one", first, second):
            assert not second.exists()


def test_a_run_is_gone_on_with_only_when_asked(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, resume=False) as run:
        run.begin({"model": "m"})
    with pytest.raises(UsageError, match="--resume"):
        RunDirectory(tmp_path, resume=False)
    with RunDirectory(tmp_path, resume=True) as run:
        run.begin({"model": "m"})
    assert events(tmp_path) == ["started", "resumed"]


def _try_to_open(path: Path, said: multiprocessing.Queue[str]) -> None:
    try:
        RunDirectory(path, resume=True)
        said.put("opened")
    except RunError as error:
        said.put(str(error))


def test_two_processes_do_not_work_in_one_directory(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    said: multiprocessing.Queue[str] = context.Queue()
    with RunDirectory(tmp_path, resume=False):
        other = context.Process(target=_try_to_open, args=(tmp_path, said))
        other.start()
        answer = said.get(timeout=60)
        other.join()
    assert "another process" in answer


def test_a_key_depends_on_settings_and_on_what_came_before() -> None:
    keys = {
        stage_key("train", {"lr": 1}, "a"),
        stage_key("train", {"lr": 2}, "a"),
        stage_key("train", {"lr": 1}, "b"),
        stage_key("bench", {"lr": 1}, "a"),
    }
    assert len(keys) == 4
    assert stage_key("train", {"lr": 1, "beta": 2}) == stage_key("train", {"beta": 2, "lr": 1})


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="run directory"):
        RunDirectory(tmp_path / "file" / "run", resume=False)

"""What a user's mistakes look like: one line, the right exit code, no traceback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strop.agent.cli.app import main

STROP = Path(sys.executable).with_name("strop")
TASK = (
    '{"id": "a", "messages": [{"role": "user", "content": "hi"}], '
    '"tools": [{"type": "function", "function": {"name": "f"}}], "calls": [{"name": "f", "arguments": {}}]}'
)


def strop(*words: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [STROP, *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """`strop` in this process, in a directory of its own: starting one takes most of a second."""
    monkeypatch.chdir(tmp_path)
    heeded = signal.getsignal(signal.SIGTERM)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert isinstance(ended.value.code, int)
        return ended.value.code, "".join(capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, heeded)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["models", "path", "qwen2.5-codr-0.5b"], 1, "qwen2.5-coder-0.5b"),
        (["round", "missing.toml"], 1, "missing.toml"),
        (["report", "nowhere"], 2, "holds no run"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o"], 1, "missing.jsonl"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o", "--gold", "maybe"], 2, "--gold"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o", "--select", "bnad"], 2, "bnad"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o", "--reward", "love"], 2, "judge_blind"),
        (["deficiencies", "--tasks", "missing.jsonl", "--out", "o"], 1, "missing.jsonl"),
        (["deficiencies", "--tasks", "missing.jsonl", "--out", "o", "--select", "quota:x=1"], 2, "'x'"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o", "--executor", "cloud"], 2, "local or ray"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o", "--workers", "2"], 2, "--executor ray"),
        (["bench", "bfcl", "--out", "o", "--categories", "nonsense"], 2, "nonsense"),
        (["bench", "bfcl", "--out", "o", "--refine", "often", "--limit", "1"], 2, "refine 'often'"),
        (["serve", "m", "--backend", "http://x", "--lora", "a=b", "--lora", "a=c"], 2, "names 'a' twice"),
        (["serve", "m", "--backend", "http://x", "--lora", "m=b"], 2, "taken or reserved"),
        (["serve", "m", "--backend", "http://x", "--lora", "strop:a=b"], 2, "taken or reserved"),
        (
            ["serve", "smollm2-135m", "--engine", "http://x", "--tensor-parallel-size", "2"],
            2,
            "takes no arguments",
        ),
        (["serve", "smollm2-135m", "--engine", "http://[::1"], 2, "is no URL"),
        (["serve", "smollm2-135m", "--backend", "http://127.0.0.1:99999"], 2, "1 to 65535"),
        (["pairs", "check", "missing.jsonl"], 1, "missing.jsonl"),
        (["pairs", "show", "nowhere"], 2, "holds no collection"),
        (["train", "dpo", "--data", "missing.jsonl", "--out", "o"], 1, "missing.jsonl"),
        (["train", "dpo", "--data", "missing.jsonl", "--out", "o", "--gamma", "1"], 2, "only of simpo"),
        (["train", "dpo", "--data", "missing.jsonl", "--out", "o", "--objective", "simop"], 2, "'simop'"),
        (["pairs", "mix", "missing.jsonl", "b.jsonl", "--out", "o.jsonl"], 1, "missing.jsonl"),
        (["adapter", "soup", "a", "b", "--out", "o", "--weights", "half"], 2, "--weights"),
        (["adapter", "soup", "a", "b", "--out", "o"], 1, "a is no adapter"),
        (["adapter", "transfer", "a", "--to", "m", "--out", "o"], 1, "a is no adapter"),
        (["adapter", "transfer", "--to", "m", "--out", "o", "--tuned", "t"], 2, "--from-base and --tuned"),
        (["adapter", "merge", "a", "--model", "nowhere", "--out", "o"], 1, "nowhere"),
        (["serve", "--engine-arg", "nonsense"], 2, "--engine-arg"),
        (["serve", "--port", "99999"], 2, "65535"),
        (
            ["bench", "bfcl", "--out", "o", "--endpoint", "http://127.0.0.1:9", "--adapter", "a"],
            2,
            "--endpoint",
        ),
        (["serve", "--refine", "500"], 2, "from 1 to 16"),
        (["serve", "--lora", "no-directory"], 2, "NAME=DIR"),
        (["serve", "--lora", "x=nowhere"], 1, "nowhere is no adapter"),
        (["collect", "--tasks", "missing.jsonl", "--out", "o", "--worlds", "nomod"], 2, "called 'nomod'"),
        (["deficiencies", "--tasks", "missing.jsonl", "--out", "o", "--worlds", "no.mod"], 2, "'no.mod'"),
        (["bench", "bfcl", "--limit", "1", "--out", "/proc/x"], 1, "cannot write /proc/x"),
        (["train", "dpo", "--data", "missing.jsonl", "--out", "o", "--seed", "-1"], 2, "--seed"),
        (["pairs", "mix", "missing.jsonl", "b.jsonl", "--out", "o.jsonl", "--share", "3"], 2, "--share"),
        (
            ["train", "sft", "--data", "missing.jsonl", "--out", "o", "--track", "tensorbord"],
            2,
            "'tensorbord'",
        ),
        (["serve", "--api-key-file", "missing.txt"], 2, "missing.txt"),
        (["serve", "--gate", "missing.json"], 1, "missing.json"),
        (["calibrate", "--tasks", "missing.jsonl", "--out", "o"], 1, "missing.jsonl"),
        (["data", "convert", "missing.jsonl", "--out", "o.jsonl"], 1, "missing.jsonl"),
        (["data", "convert", "missing.jsonl", "--out", "o.jsonl", "--to", "alpaca"], 2, "openai"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line(
    words: list[str], code: int, says: str, here: Callable[..., tuple[int, str]]
) -> None:
    got, text = here(*words)
    assert got == code, text
    assert says in text
    assert "Traceback" not in text


def test_results_go_where_no_file_is(here: Callable[..., tuple[int, str]]) -> None:
    Path("o").write_text("mine")
    Path("tasks.jsonl").write_text(TASK + "\n")
    for words in (("bench", "run", "tasks.jsonl"), ("collect", "--tasks", "tasks.jsonl")):
        code, text = here(*words, "--out", "o")
        assert (code, "o is a file: give a directory" in text) == (2, True), text
    assert Path("o").read_text() == "mine"


def test_characters_that_the_terminal_lacks_are_no_crash() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"}
    done = subprocess.run(
        [STROP, "models", "list"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "qwen2.5-coder-0.5b: " in done.stdout
    assert "…" not in done.stdout


def test_a_ray_cluster_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: strop[ray]")
    (tmp_path / "tasks.jsonl").write_text(TASK + "\n")
    words = (
        "collect",
        "--tasks",
        "tasks.jsonl",
        "--out",
        "o",
        "--executor",
        "ray",
        "--ray-address",
        "127.0.0.1:9",
    )
    code, text = strop(*words, cwd=tmp_path)
    assert code == 1
    assert "no Ray cluster at 127.0.0.1:9" in text
    assert "Traceback" not in text


def test_a_taken_port_is_found_before_the_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = strop("serve", "--port", str(port), cwd=tmp_path)
    assert code == 1
    assert f"{port}" in text
    assert "--port" in text


def test_a_broken_line_in_the_middle_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(f'{TASK}\n{{"id": "broken\n{TASK.replace("a", "b", 1)}\n{{"id": "c"}}\n')
    # The endpoint does not exist: that is one line, too, and what is read before it is asked.
    code, text = strop("bench", "run", tasks, "--out", tmp_path / "o", "--endpoint", "http://127.0.0.1:9/v1")
    assert "tasks.jsonl:2: skipped: not JSON" in text
    assert "tasks.jsonl:4: skipped" in text
    assert "messages" in text
    assert code == 1
    assert "127.0.0.1:9" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[tasks]\nfile = "nowhere.jsonl"', "nowhere.jsonl: cannot be read"),
        ('[tasks]\nfile = "."', "cannot be read"),
        ("[tasks]\nsynthesise = 50\n[bench]\ncategories = ['nonsense']", "nonsense"),
        ("[tasks]\nsynthesise = 50\n[bench]\nrefine = 'often'", "refine"),
        ("[tasks]\nsynthesise = 50\n[collect]\nconcurrency = 0", "concurrency"),
        ("model = 'nowhere'\n[tasks]\nsynthesise = 50\nallow_copies = true", "unknown model"),
    ],
)
def test_what_is_wrong_with_a_round_is_told_before_an_engine_starts(
    toml: str, says: str, here: Callable[..., tuple[int, str]]
) -> None:
    Path("c.toml").write_text(toml)
    code, text = here("round", "c.toml")
    assert code in (1, 2)
    assert says in text
    assert "Traceback" not in text
    assert "engine" not in text


@pytest.mark.parametrize("url", ["http://127.0.0.1:9999999/v1", "ftp://127.0.0.1/v1"])
def test_an_address_that_is_none_is_wrong_usage(url: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text(TASK + "\n")
    code, text = strop("bench", "run", "tasks.jsonl", "--out", "o", "--endpoint", url, cwd=tmp_path)
    assert code == 2
    assert url in text
    assert "Traceback" not in text


def heed_interrupts() -> None:
    """A shell may start its background jobs with interrupts ignored; a terminal does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("number", "started"),
    [
        (signal.SIGINT, heed_interrupts),
        (signal.SIGTERM, heed_interrupts),
        (signal.SIGTERM, ignore_interrupts),
    ],
)
def test_an_interrupt_is_one_line_and_its_own_exit_code(
    number: signal.Signals, started: Callable[[], None], tmp_path: Path
) -> None:
    words = [str(STROP), "data", "synthesise", "--n", "500000", "--out", str(tmp_path / "tasks.jsonl")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=started)
    time.sleep(1.5)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert text.count("\n") == 1
    assert "interrupted" in text


def test_synthesised_tasks_are_tasks(tmp_path: Path) -> None:
    from strop.tools.task import read_tasks

    out = tmp_path / "tasks.jsonl"
    code, _ = strop("data", "synthesise", "--out", out, "--n", "10", "--categories", "follow_up,parallel")
    assert code == 0
    tasks, bad = read_tasks(out)
    assert len(tasks) == 10
    assert not bad


def test_tasks_are_regrouped_and_those_that_cannot_be_are_counted(tmp_path: Path) -> None:
    from strop.tools.task import read_tasks

    given, out = tmp_path / "tasks.jsonl", tmp_path / "families.jsonl"
    strop("data", "synthesise", "--out", given, "--n", "20", "--categories", "simple,irrelevance")
    code, text = strop("data", "regroup", given, "--out", out, "--n", "3")
    assert code == 0
    assert " of 20 tasks can be put to other tools" in text
    tasks, bad = read_tasks(out)
    assert len(tasks) >= 3
    assert not bad
    strop("data", "synthesise", "--out", given, "--n", "4", "--categories", "irrelevance")
    code, text = strop("data", "regroup", given, "--out", out)
    assert code == 2
    assert "none of these tasks" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "synthesise", "--levels", "brutal"), "no level 'brutal'"),
        (("data", "synthesise", "--levels", "hard", "--categories", "simple"), "no hard tasks"),
        (("data", "paraphrase", "tasks.jsonl"), "wants a .jsonl file"),
    ],
)
def test_tasks_that_cannot_be_made_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    out = tmp_path / "tasks.json"
    code, text = strop(*arguments, "--out", out)
    assert code == 2
    assert said in text
    assert not out.exists()

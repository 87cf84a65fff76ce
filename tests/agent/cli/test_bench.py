"""``strop bench`` from the command line to the files it leaves, against a scripted endpoint."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from strop.agent.cli.bench import app
from strop.tools.errors import UsageError
from strop.tools.task import Gold, Task
from tests.agent.endpoints import native, serving

EXAMPLE = Path(__file__).parents[3] / "examples" / "05_own_benchmark.py"
RIGHT = native("add", '{"a": 17.0, "b": 25.0}')


def bench(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_a_benchmark_of_ones_own_is_run_kept_and_not_asked_again(tmp_path: Path) -> None:
    with serving(RIGHT) as endpoint:
        asked = ("run", EXAMPLE, "m", "--endpoint", endpoint.url, "--cache", tmp_path / "answers.sqlite")
        output = bench(*asked, "--out", tmp_path / "one")
        assert "sums: m" in output
        assert len(endpoint.bodies) == 3
        bench(*asked, "--out", tmp_path / "one")
        bench(*asked, "--out", tmp_path / "other")
        # The directory holds all of the first, the cache all of the second.
        assert len(endpoint.bodies) == 3
    summary = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert {name: one["correct"] for name, one in summary["categories"].items()} == {"sums": 1, "stories": 1}
    assert summary["categories"]["sums"]["errors"] == {"wrong_value": 1}
    assert (tmp_path / "other" / "page.html").exists()


def test_samples_are_asked_for_with_seeds_and_summed_up(tmp_path: Path) -> None:
    with serving(RIGHT) as endpoint:
        output = bench(
            "run", EXAMPLE, "m", "--endpoint", endpoint.url, "--out", tmp_path / "o",
            "--categories", "stories", "--samples", 4, "--temperature", 0.7, "--seed", 5, "--concurrency", 1,
        )  # fmt: skip
        assert [body["seed"] for body in endpoint.bodies] == [5, 6, 7, 8]
        assert {body["temperature"] for body in endpoint.bodies} == {0.7}
    assert "pass@4" in output
    assert "majority@4" in output


def test_tools_can_go_into_the_prompt(tmp_path: Path) -> None:
    with serving(RIGHT) as endpoint:
        bench(
            "run", EXAMPLE, "m", "--endpoint", endpoint.url, "--prompt-mode", "--limit", 1,
            "--out", tmp_path / "o",
        )  # fmt: skip
        assert all("tools" not in body for body in endpoint.bodies)
        assert "add" in endpoint.bodies[0]["messages"][0]["content"]
    settings = json.loads((tmp_path / "o" / "settings.json").read_text())
    assert settings["tools"] == "in the prompt"


def test_other_peoples_names_are_shown_as_they_are_and_more_categories_go_on(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    names = ("cat[/i]", "[red]cat[/red]")
    rows = [Task(f"{name}:1", ({"role": "user", "content": "Hi"},), (), Gold(()), name) for name in names]
    tasks.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    with serving(RIGHT) as endpoint:
        cache = ("--cache", tmp_path / "cache.sqlite")
        asked = ("run", tasks, "m", "--endpoint", endpoint.url, "--out", tmp_path / "o", *cache)
        assert "cat[/i]" in bench(*asked, "--categories", names[0])
        assert "[red]cat[/red]" in bench(*asked, "--categories", ",".join(names))
        # What an endpoint is sent is the same for both.
        assert len(endpoint.bodies) == 1
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert set(summary["categories"]) == set(names)


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    task = Task("t", ({"role": "user", "content": "Hi"},), (), Gold(()), "sums")
    tasks.write_text(json.dumps(task.to_json()) + "\n")
    for words, reason in (
        (("--categories", "sum"), "no category 'sum'; it has sums"),
        (("--data", tmp_path), "--data is for suites of your own"),
        (
            ("--endpoint", "http://127.0.0.1:9", "--prompt-mode", "--refine", "adaptive"),
            "--prompt-mode sends no tools",
        ),
        (("--endpoint", "http://127.0.0.1:9", "--max-model-len", "4096"), "has its own --max-model-len"),
    ):
        asked = ["run", tasks, "m", "--out", tmp_path / "o", *words]
        result = CliRunner().invoke(app, [str(word) for word in asked])
        assert isinstance(result.exception, UsageError), result.output
        assert reason in str(result.exception)


def test_the_shipped_adapter_is_that_of_the_model_asked_for(tmp_path: Path) -> None:
    for words in (("smollm2-135m", "--adapter", "shipped"), ("--adapter", "shipped", "smollm2-135m")):
        result = CliRunner().invoke(app, ["run", str(EXAMPLE), "--out", str(tmp_path), *words])
        assert isinstance(result.exception, UsageError), result.output
        assert "no adapter is shipped for smollm2-135m" in str(result.exception)

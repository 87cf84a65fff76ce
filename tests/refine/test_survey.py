"""A survey: what it counts, says and writes, and what a collection makes of its directory."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strop.agent.engines.scripted import Entry, ScriptedEngine, ScriptedTemplate, last_turn
from strop.agent.policy import Policy
from strop.refine.collect import CollectConfig, collect
from strop.refine.partings import Place
from strop.refine.sample import Outcome
from strop.refine.sampling import SampleConfig, perplexity
from strop.refine.search import SearchConfig
from strop.refine.survey import SurveyConfig, survey
from strop.refine.survey_report import NO_TOOL, Report, advice, blamed, findings, headline
from strop.tools.errors import EndpointError, EngineError, UsageError
from strop.tools.spec import ToolCall
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict
from tests.refine.worlds import BOTH, EASY, NEITHER, PARIS, SIMPLE, TASKS, WORLD, call, fenced, policy, task

SAMPLING = SampleConfig(samples=6, max_tokens=400)
CONFIG = SurveyConfig(SAMPLING, concurrency=2)


async def surveyed(out: Path, config: SurveyConfig = CONFIG, **options: Any) -> Report:
    return await survey(TASKS, policy(WORLD, **options), config, out)


def rows(out: Path) -> dict[str, dict[str, Any]]:
    lines = (out / "deficiencies.jsonl").read_text().splitlines()
    found = {row["task_id"]: row for row in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


async def test_everything_that_is_counted_adds_up(tmp_path: Path) -> None:
    report = await surveyed(tmp_path)
    whole = report.whole
    wrong = whole.samples - whole.passes
    assert whole.samples == 6 * len(TASKS)
    assert wrong == len(report.failures) == sum(whole.errors.values()) > 0
    assert sum(group.samples for group in report.groups.values()) == whole.samples
    assert sum(whole.states.values()) == len(TASKS)
    assert list(whole.pass_at) == [1, 2, 4, 6]
    assert whole.pass_at[1] == pytest.approx(whole.passes / whole.samples)
    assert list(whole.pass_at.values()) == sorted(whole.pass_at.values())
    # NEITHER has no prose to compare with, but a right sample is as good.
    assert sum(report.places.values()) == sum(report.spots.values()) == sum(report.tokens.values()) == wrong
    stored = json.loads((tmp_path / "deficiencies.json").read_text())
    assert stored["all"]["passes"] == whole.passes
    assert stored["findings"] == findings(report)
    assert {row["select"]: row["kept"] for row in stored["selections"]}["--select band"] == 3


async def test_the_gold_s_perplexity_is_the_script_s(tmp_path: Path) -> None:
    await surveyed(tmp_path)
    found = rows(tmp_path)
    engine_says = await policy(WORLD).engine.score(
        policy(WORLD).prompt_ids(SIMPLE), ScriptedTemplate().answer_ids(fenced(PARIS))
    )
    assert found[SIMPLE.id]["perplexity"] == pytest.approx(math.exp(-sum(engine_says) / len(engine_says)))
    assert found[EASY.id]["perplexity"] == 1.0
    assert found[NEITHER.id]["perplexity"] is None  # nobody wrote the right prose
    assert found[BOTH.id]["perplexity"] > found[SIMPLE.id]["perplexity"] > 1


async def test_wrong_samples_are_located(tmp_path: Path) -> None:
    report = await surveyed(tmp_path)
    for failure in report.failures:
        assert failure.parting is not None
        if failure.task is SIMPLE and "days" in failure.outcome.verdict.detail:
            assert (failure.parting.place, failure.parting.argument) == (Place.ARGUMENT, "days")
        if failure.task is NEITHER:
            assert failure.parting.place is Place.CALL
            assert failure.tools == ("get_time",)


def unscored() -> SurveyConfig:
    return replace(CONFIG, score_gold=False)


async def test_golds_can_be_scored_later_without_sampling_again(tmp_path: Path) -> None:
    await surveyed(tmp_path / "later", unscored())
    assert all(row["perplexity"] is None for row in rows(tmp_path / "later").values())
    engine = ScriptedEngine(dict(WORLD))
    await survey(TASKS, Policy(engine, ScriptedTemplate()), CONFIG, tmp_path / "later")
    assert {request.kind for request in engine.requests} == {"score"}
    await surveyed(tmp_path / "at once", replace(CONFIG, concurrency=1))
    assert rows(tmp_path / "later") == rows(tmp_path / "at once")


async def test_a_second_start_asks_nothing(tmp_path: Path) -> None:
    await surveyed(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".html"}
    engine = ScriptedEngine({})
    await survey(TASKS, Policy(engine, ScriptedTemplate()), CONFIG, tmp_path)
    assert engine.requests == []
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".html"}


async def test_a_start_that_fails_in_the_middle_goes_on(tmp_path: Path) -> None:
    world = {**WORLD, "Tell me a joke.": EngineError("the engine died")}
    with pytest.raises(EngineError, match="the engine died"):
        await survey(TASKS, policy(world), replace(CONFIG, concurrency=1), tmp_path / "broken")
    assert 0 < len(rows(tmp_path / "broken")) < len(TASKS)
    await surveyed(tmp_path / "broken")
    await surveyed(tmp_path / "whole")
    assert rows(tmp_path / "broken") == rows(tmp_path / "whole")


COLLECT = CollectConfig(samples=6, search=SearchConfig(simulations=1, max_tokens=400))


async def test_a_collection_goes_on_from_a_survey(tmp_path: Path) -> None:
    await surveyed(tmp_path / "both")
    before = (tmp_path / "both" / "deficiencies.jsonl").read_bytes()
    engine = ScriptedEngine(dict(WORLD))
    await collect(TASKS, Policy(engine, ScriptedTemplate()), COLLECT, tmp_path / "both")
    whole_prompts = {policy({}).prompt_ids(one) for one in TASKS}
    sampled = [
        r for r in engine.requests if r.sampling and r.sampling.n == 6 and r.prompt_ids in whole_prompts
    ]
    assert sampled == []
    assert (tmp_path / "both" / "deficiencies.jsonl").read_bytes() == before
    await collect(TASKS, policy(WORLD), COLLECT, tmp_path / "alone")
    assert (tmp_path / "both" / "pairs.jsonl").read_bytes() == (
        tmp_path / "alone" / "pairs.jsonl"
    ).read_bytes()
    # And back: a survey of what was searched, but not with another search.
    await surveyed(tmp_path / "alone")
    with pytest.raises(UsageError, match=r"\(search\.simulations 1, now 2\)"):
        await collect(
            TASKS, policy(WORLD), replace(COLLECT, search=SearchConfig(max_tokens=400)), tmp_path / "both"
        )


async def test_other_sampling_is_refused(tmp_path: Path) -> None:
    await surveyed(tmp_path)
    other = replace(COLLECT, search=replace(COLLECT.search, max_tokens=300))
    with pytest.raises(UsageError, match=r"\(max_tokens 400, now 300\)"):
        await collect(TASKS, policy(WORLD), other, tmp_path)
    with pytest.raises(UsageError, match=r"\(samples \d, now 3\)"):
        await surveyed(tmp_path, replace(CONFIG, sampling=replace(SAMPLING, samples=3)))


async def test_a_collection_scores_golds_where_its_selection_needs_them(tmp_path: Path) -> None:
    chosen = replace(COLLECT, select=("band", "perplexity:0.5"))
    summary = await collect(TASKS, policy(WORLD), chosen, tmp_path)
    selection = json.loads((tmp_path / "selection.json").read_text())
    assert list(selection["tasks"]) == [BOTH.id]  # the harder of the two unsolved ones with a written gold
    assert summary.searched == 1
    assert [path.name for path in (tmp_path / "trees").glob("*.gz")] == ["dir%2Fboth.json.gz"]
    more = await collect(TASKS, policy(WORLD), COLLECT, tmp_path)
    assert more.searched == 3


class Mute(ScriptedEngine):
    """A server that generates and cannot score."""

    async def score(self, *_: Any, **__: Any) -> tuple[float, ...]:
        raise EndpointError("echo is not supported")


async def test_an_engine_that_cannot_score_costs_the_perplexity_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = Policy(Mute(dict(WORLD)), ScriptedTemplate())
    report = await survey(TASKS, mute, CONFIG, tmp_path)
    assert report.whole.perplexities == []
    assert report.failures
    assert "its gold cannot be scored: echo is not supported" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no gold was scored"):
        await collect(TASKS, mute, replace(COLLECT, select=("perplexity:0.5",)), tmp_path)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"select": ("bnad",)}, "bnad"),
        ({"select": ("perplexity:0.3",), "score_gold": False}, "wants the golds scored"),
    ],
)
def test_settings_that_make_no_sense_are_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        SurveyConfig(**wrong)


def test_an_impossible_gold_has_a_finite_perplexity() -> None:
    assert perplexity((math.log(0.5), math.log(0.125))) == 4.0
    assert math.isfinite(perplexity((-math.inf,)))


@pytest.mark.parametrize(
    ("error", "calls", "detail", "expected"),
    [
        (ErrorKind.MISSING_CALL, ["a"], "", ("b",)),
        (ErrorKind.MISSING_CALL, [], "", ("a", "b")),
        (ErrorKind.EXTRA_CALL, ["a", "b", "c"], "", ("c",)),
        (ErrorKind.EXTRA_CALL, ["a", "b", "b"], "", ("b",)),
        (ErrorKind.WRONG_NAME, ["a", "c"], "", ("b",)),
        (ErrorKind.WRONG_VALUE, ["a", "b"], "b: argument 'x' is 1, 2 is right.", ("b",)),
        (ErrorKind.UNPARSABLE, [], "", ("a", "b")),
    ],
)
def test_a_failure_counts_against_the_tool_that_failed(
    error: ErrorKind, calls: list[str], detail: str, expected: tuple[str, ...]
) -> None:
    both = task("?", call("a", x=1), call("b", x=2))
    made = tuple(ToolCall(name, {}) for name in calls)
    outcome = Outcome("", made, Verdict.wrong(error, detail), 0.0, complete=True)
    assert blamed(both, outcome) == expected


async def test_what_fails_most_is_what_is_said_first(tmp_path: Path) -> None:
    world: dict[str, Entry] = {
        "Weather in Paris and Rome for 3 days?": [(fenced(PARIS), 9.0), ("No.", 1.0)],
        "Time in Rome?": [fenced(call("get_time", city="Rome"))],
    }
    report = await survey([BOTH, EASY], policy(world), CONFIG, tmp_path)
    assert headline(report) == "Train on missing call first: 100% of the failures"
    assert findings(report)[1] == "6 of 6 failures are missing call: 6 in parallel tasks."
    assert advice(report) == ["band", "quota:missing_call=1"]
    assert "1 of 1 failing tasks were never solved" in " ".join(findings(report))


async def test_where_nothing_fails_or_nothing_is_sampled_that_is_said(tmp_path: Path) -> None:
    report = await survey([EASY], policy(WORLD), CONFIG, tmp_path / "easy")
    assert headline(report) == "Nothing to train on: every sample is right"
    assert advice(report) == []
    live = replace(SIMPLE, gold=None)
    report = await survey([live], policy(WORLD), CONFIG, tmp_path / "live")
    assert headline(report) == "Nothing was sampled"
    assert "1 without gold" in findings(report)[0]
    for name in ("easy", "live"):
        assert "<h1>Nothing" in (tmp_path / name / "page.html").read_text()


async def test_an_unreadable_answer_where_prose_is_right_has_no_tool(tmp_path: Path) -> None:
    broken = policy({"Tell me a joke.": ['```json\n{"name": "get_time", "arguments": {"city": \n```']})
    report = await survey([NEITHER], broken, CONFIG, tmp_path)
    assert list(report.tools) == [NO_TOOL]


async def test_the_page_needs_nothing_from_outside_and_runs_nothing_of_the_model(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    odd = task(f"Weather? {evil}", call("get_weather", city=evil), task_id=evil, category=evil)

    def script(prompt: tuple[int, ...]) -> list[str]:
        assert evil in last_turn(prompt)
        return [evil, fenced(call("get_weather", city="Oslo"))]

    await survey([odd], Policy(ScriptedEngine(script), ScriptedTemplate()), CONFIG, tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    assert "http" not in page.replace("http-equiv", "")
    start = page.index('type="application/json">') + len('type="application/json">')
    failures = json.loads(page[start : page.index("</script>", start)])
    assert {failure["id"] for failure in failures} == {evil}


async def test_tasks_without_a_category_are_grouped_by_their_calls(tmp_path: Path) -> None:
    bare: list[Task] = [replace(one, category="") for one in TASKS]
    report = await survey(bare, policy(WORLD), CONFIG, tmp_path)
    assert set(report.groups) == {"one call", "several calls", "no call"}

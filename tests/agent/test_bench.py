"""The benchmark runner, against answerers that need no model."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from strop.agent.answer import Answer
from strop.agent.bench import run_bench
from strop.agent.engines.base import Sampling
from strop.agent.outcome import SUMMARY
from strop.agent.rows import ANSWERS, read_answers
from strop.tools.errors import DataError, EngineError, RunError, UsageError
from strop.tools.suite import Overall, Scores, Suite
from strop.tools.task import Task
from tests.agent.answerers import CASES, ByName, ByText, Fixed, bench, case, odd_wrong, right, said


async def test_every_task_is_asked_once_judged_and_kept(tmp_path: Path) -> None:
    answerer = Fixed(odd_wrong)
    summary = await bench(answerer, tmp_path)
    assert sorted(answerer.asked) == sorted(each.task.id for each in CASES)
    rows = read_answers(tmp_path)
    assert [row["id"] for row in rows] == [each.task.id for each in CASES]
    assert rows[1]["calls"] == [{"name": "other", "arguments": {"x": 1}}]
    assert (rows[1]["correct"], rows[1]["error"]) == (False, "wrong_name")
    assert (rows[0]["correct"], rows[0]["error"]) == (True, None)
    assert rows[0]["refine"] == {"rounds": 0, "stop_reason": "off"}
    assert rows[0]["usage"] == {"prompt_tokens": 2, "completion_tokens": 1, "cached_tokens": 1}
    written = json.loads((tmp_path / SUMMARY).read_text())
    assert written == summary.to_json()
    assert written["categories"]["simple"] | {"interval": None, "latency": None} == {
        "correct": 3, "total": 6, "accuracy": 0.5, "interval": None, "errors": {"wrong_name": 3},
        "latency": None,
    }  # fmt: skip
    assert written["usage"]["prompt_tokens"] == 20
    assert written["overall"] == {}


async def test_concurrency_is_kept_and_not_exceeded(tmp_path: Path) -> None:
    answerer = Fixed(right)
    await bench(answerer, tmp_path, concurrency=4)
    assert answerer.most == 4


async def test_an_engine_failure_keeps_what_came_before_and_the_next_run_goes_on(tmp_path: Path) -> None:
    def fails_late(task: Task) -> Answer:
        if task.id == "t7":
            raise EngineError("the engine died")
        return right(task)

    with pytest.raises(EngineError, match="the engine died"):
        await bench(Fixed(fails_late), tmp_path, concurrency=2)
    kept = [row["id"] for row in read_answers(tmp_path)]
    assert len(kept) >= 6
    assert not (tmp_path / SUMMARY).exists()
    second = Fixed(right)
    summary = await bench(second, tmp_path)
    assert set(second.asked) == {each.task.id for each in CASES} - set(kept)
    assert sum(one.score.total for one in summary.categories.values()) == 10
    assert [row["id"] for row in read_answers(tmp_path)] == [each.task.id for each in CASES]


async def test_a_row_cut_off_by_a_kill_is_asked_again(tmp_path: Path) -> None:
    await bench(Fixed(right), tmp_path)
    whole = (tmp_path / ANSWERS).read_bytes()
    (tmp_path / ANSWERS).write_bytes(whole[:-20])
    second = Fixed(right)
    await bench(second, tmp_path)
    assert second.asked == ["t9"]


async def test_a_broken_row_in_the_middle_is_named(tmp_path: Path) -> None:
    await bench(Fixed(right), tmp_path)
    lines = (tmp_path / ANSWERS).read_text().splitlines()
    lines[3] = lines[3][:30]
    (tmp_path / ANSWERS).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"answers\.jsonl:4: .*delete the line"):
        await bench(Fixed(right), tmp_path)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"refine": "adaptive"}, "refine"),
        ({"model": "another"}, "model"),
        ({"version": "2"}, r"\(version\)"),
        ({"asked": {"weights": "others"}}, r"\(weights\)"),
        ({"sampling": Sampling(temperature=1.0)}, "sampling.temperature"),
    ],
)
async def test_other_settings_refuse_the_directory(
    tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    await bench(Fixed(right), tmp_path, CASES[:2])
    with pytest.raises(UsageError, match=name):
        await bench(Fixed(right), tmp_path, CASES[:2], **options)


async def test_a_setting_left_out_is_another_too(tmp_path: Path) -> None:
    await bench(Fixed(right), tmp_path, CASES[:2], asked={"tools": "in the prompt"})
    with pytest.raises(UsageError, match="tools 'in the prompt', now None"):
        await bench(Fixed(right), tmp_path, CASES[:2])


async def test_an_answer_judged_by_its_text_is_what_comes_after_the_thoughts(tmp_path: Path) -> None:
    def thinks(task: Task) -> Answer:
        return said(text=f"<think>\nWhich one?\n</think>\n\n{task.id}")

    await bench(Fixed(thinks), tmp_path, [ByText(case("t0", "simple").task)])
    (row,) = read_answers(tmp_path)
    assert (row["correct"], row["text"]) == (True, "t0")


async def test_a_directory_without_an_answer_is_nobodys_yet(tmp_path: Path) -> None:
    def fails(_task: Task) -> Answer:
        raise EngineError("no such model")

    with pytest.raises(EngineError):
        await bench(Fixed(fails), tmp_path, CASES[:1], model="a typo")
    assert (await bench(Fixed(right), tmp_path, CASES[:1])).model != "a typo"


async def test_a_row_that_is_no_answer_is_named(tmp_path: Path) -> None:
    await bench(Fixed(right), tmp_path, CASES[:1])
    with (tmp_path / ANSWERS).open("a") as file:
        file.write('{"id": "z"}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl:2: .*lacks category, .*delete the line"):
        await bench(Fixed(right), tmp_path)


async def test_what_earlier_runs_asked_is_neither_whole_nor_forgotten(tmp_path: Path) -> None:
    def suite(cases: Sequence[ByName]) -> Suite:
        sizes = Counter(each.task.category for each in cases)

        def overall(scores: Scores, sizes: Mapping[str, int]) -> Sequence[Overall]:
            missing = [name for name in ("simple", "multiple") if len(scores[name]) < sizes.get(name, 99)]
            return [Overall("all", 0.0, tuple(missing))]

        return Suite("own", "1", tuple(cases), {name: sizes[name] for name in sizes}, overall)

    def recall(categories: Sequence[str]) -> Suite:
        return suite([each for each in CASES if each.task.category in categories])

    wrong = Fixed(lambda _: said("other"))
    first = Suite("own", "1", tuple(CASES[:2]), {"simple": 6})
    await run_bench(first, wrong, tmp_path, progress=False)
    later = suite(CASES[6:])
    summary = await run_bench(later, wrong, tmp_path, progress=False)
    assert summary.overalls[0].missing == ("simple",)
    assert ["t0"] not in golds_shown(tmp_path)
    summary = await run_bench(later, wrong, tmp_path, progress=False, recall=recall)
    assert summary.overalls[0].missing == ("simple",)
    assert ["t0"] in golds_shown(tmp_path)


def golds_shown(out: Path) -> list[list[str]]:
    found = re.search(r"<script[^>]*json[^>]*>(.*?)</script>", (out / "page.html").read_text(), re.DOTALL)
    assert found is not None
    return [failure["gold"] for failure in json.loads(found[1])]


async def test_a_directory_grows_by_later_runs(tmp_path: Path) -> None:
    await bench(Fixed(right), tmp_path, CASES[6:])
    summary = await bench(Fixed(right), tmp_path, CASES[:6])
    assert {name: one.score.total for name, one in summary.categories.items()} == {"simple": 6, "multiple": 4}


async def test_bfcl_answers_come_out_in_the_official_layout(tmp_path: Path) -> None:
    cases = [case("simple_python_0", "simple_python"), case("live_irrelevance_0-0-0", "live_irrelevance")]

    def reply(task: Task) -> Answer:
        return right(task) if task.category == "simple_python" else said(text="No tool fits.")

    await bench(Fixed(reply), tmp_path, cases, suite="bfcl")
    folder = tmp_path / "result" / "org_fixed"
    call = json.loads((folder / "non_live" / "BFCL_v4_simple_python_result.json").read_text())
    assert (call["id"], call["result"]) == ("simple_python_0", [{"simple_python_0": '{"x": 1}'}])
    prose = json.loads((folder / "live" / "BFCL_v4_live_irrelevance_result.json").read_text())
    assert prose["result"] == "No tool fits."


async def test_two_at_once_in_one_directory_are_refused(tmp_path: Path) -> None:
    slow = Fixed(right)
    first = asyncio.create_task(bench(slow, tmp_path))
    while not slow.asked:
        await asyncio.sleep(0.001)
    with pytest.raises(RunError, match="another process"):
        await bench(Fixed(right), tmp_path)
    await first
    await bench(Fixed(right), tmp_path)
    assert not list(tmp_path.glob(".*"))


async def test_strange_characters_are_kept(tmp_path: Path) -> None:
    await bench(Fixed(lambda _: said(text="half \ud83d of a pair, and \N{SNOWMAN}")), tmp_path, CASES[:1])
    assert read_answers(tmp_path)[0]["content"] == "half \ud83d of a pair, and \N{SNOWMAN}"


async def test_a_stopped_run_counts_its_time_on(tmp_path: Path) -> None:
    first = await bench(Fixed(right), tmp_path, CASES[:3])
    second = await bench(Fixed(right), tmp_path)
    assert second.seconds > first.seconds > 0
    third = await bench(Fixed(right), tmp_path)
    assert third == second


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file"):
        await bench(Fixed(right), tmp_path / "file" / "out")


SLOW_RUN = """
import asyncio, sys
from pathlib import Path
from tests.agent.answerers import CASES, Fixed, bench, right

class Slow(Fixed):
    async def answer(self, task, sampling):
        await asyncio.sleep(0.2)
        return await super().answer(task, sampling)

asyncio.run(bench(Slow(right), Path(sys.argv[1]), CASES, concurrency=1))
"""


async def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(tmp_path)], cwd=Path(__file__).parents[2])
    try:
        while not (tmp_path / ANSWERS).exists() or (tmp_path / ANSWERS).read_bytes().count(b"\n") < 3:
            await asyncio.sleep(0.005)
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    kept = [row["id"] for row in read_answers(tmp_path)]
    assert 3 <= len(kept) < len(CASES)
    second = Fixed(right)
    summary = await bench(second, tmp_path)
    assert sorted(second.asked + kept) == [each.task.id for each in CASES]
    assert sum(one.score.correct for one in summary.categories.values()) == len(CASES)

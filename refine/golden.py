"""The gold of a task, written the way the policy writes."""

from __future__ import annotations

from dataclasses import replace

from strop.agent.answer import Draft
from strop.agent.chat import Template
from strop.agent.policy import written_after
from strop.refine.pairs import GoldAnswer
from strop.refine.sample import assess
from strop.tools.formats import FORMATS
from strop.tools.judge import validate_call
from strop.tools.task import Task
from strop.tools.verdict import ErrorKind, Verdict


def gold_answer(task: Task, template: Template) -> GoldAnswer | None:
    """The gold as the policy would write it: its calls in the policy's format, or its prose.

    None where there is no gold, or where the right answer is prose and nobody wrote one. Gold calls that
    break their tool's schema get a wrong verdict, so that the gate never lets them be preferred.
    """
    if task.gold is None:
        return None
    calls = task.gold.calls
    text = FORMATS[template.call_format].render(calls) if calls else task.gold.response
    if not text:
        return None
    prompt_ids = template.prompt_ids(task.messages, task.tools)
    written = written_after(template, prompt_ids, text)
    ids = template.answer_ids(written)
    draft = Draft(prompt_ids, ids, written, calls, None if calls else text, opened=written != text)
    outcome = assess(task, draft)
    problems = [problem for call in calls for problem in validate_call(call, task.tools)]
    if problems:
        outcome = replace(outcome, verdict=Verdict.wrong(ErrorKind.WRONG_TYPE, problems[0]), reward=0.0)
    return GoldAnswer(ids, outcome)

"""Training refuses tasks that repeat a benchmark, and says which and how to go on."""

from __future__ import annotations

from importlib import util

import pytest

from strop.tools.bfcl.suite import load_suite
from strop.tools.errors import UsageError
from strop.tools.task import Task
from strop.training.copies import refuse_copies
from strop.training.synth import synthesise

needed = {"bfcl_eval": "the benchmark", "datasketch": "strop[data]"}
missing = [f"{name} ({what})" for name, what in needed.items() if util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def test_a_benchmarks_own_question_stops_training() -> None:
    stolen = load_suite(["multiple"], limit=1).cases[0].task
    # Its question alone, under another name and with other tools.
    task = Task("mine", stolen.messages, (), None)
    with pytest.raises(
        UsageError, match=r"1 of 1 tasks .*1 questions.*mine: question, exact of bfcl multiple_0.*--go"
    ):
        refuse_copies([task], "--go")


def test_tasks_of_strops_own_making_are_no_copies() -> None:
    refuse_copies(synthesise(200, 1, None), "--go")

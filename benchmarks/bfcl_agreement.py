"""Does Strop's BFCL checker say what the official one says?

    python benchmarks/bfcl_agreement.py [--per-category N] [--seed S] [--every K] [--results DIR ...]

Both judge the gold answers of every single-turn task, Java and JavaScript included, and systematic
mutations of them: names, missing, extra and reordered calls and arguments, values of other types, other
spellings, other nesting, and random combinations. Compared are right or wrong, the error type, the argument
or key it names and, for several calls, the gold call that found no match with the reason against each
candidate. Prints the counts by category and error type and every difference; exits 1 if there is one. About
a minute.

Needs the official package, of which only the evaluator is imported: `pip install --no-deps
bfcl-eval==2026.3.23`. Its model registry, which pulls every vendor's SDK, is stood in for: a checked answer
only asks it whether dots in function names were replaced.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import re
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bfcl_mutations import Calls, results_near

from strop.agent.rows import read_answers
from strop.tools.bfcl.checker import language_of
from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.single import BfclCase
from strop.tools.bfcl.suite import SINGLE_TURN, load_suite
from strop.tools.spec import ToolCall

STAND_INS = (
    "constants.model_config",
    "eval_checker.eval_runner_helper",
    "model_handler.base_handler",
    "model_handler.utils",
)
"""Modules of the official package that its evaluator imports and a single-turn verdict never uses."""

UNUSED_NAMES = ("BaseHandler", "parse_prompt_variation_params")


class NativeCalls:
    """Decodes a result as the official handlers of models with native function calling do."""

    def decode_ast(self, result: Any, language: Any, has_tool_call_tag: bool) -> list[dict[str, Any]]:
        del language, has_tool_call_tag
        return [{name: json.loads(text) for name, text in call.items()} for call in result]

    def decode_execute(self, result: Any, has_tool_call_tag: bool) -> list[str]:
        """Raises AttributeError for text."""
        del has_tool_call_tag
        return [f"{name}(**{text})" for call in result for name, text in call.items()]


@dataclass(frozen=True, slots=True)
class Reason:
    """A verdict in the terms both sides have."""

    error_type: str
    """Empty where the answer is right."""
    subject: str = ""
    """Argument, key or function name; for several calls, the index of the gold call."""
    candidates: tuple[Reason, ...] = ()


Official = Callable[[BfclCase, Any], Reason]


def load_runner() -> Any:
    """The module of the official evaluator. Raises ModuleNotFoundError where it is not installed."""
    import_module("bfcl_eval")
    # It makes its folders when imported; not beside the installed package.
    os.environ["BFCL_PROJECT_ROOT"] = tempfile.mkdtemp(prefix="bfcl-agreement-")
    for name in STAND_INS:
        module = types.ModuleType(f"bfcl_eval.{name}")
        module.__dict__.update(dict.fromkeys(UNUSED_NAMES))
        module.__dict__["MODEL_CONFIG_MAPPING"] = {"strop": types.SimpleNamespace(underscore_to_dot=False)}
        sys.modules.setdefault(module.__name__, module)
    return import_module("bfcl_eval.eval_checker.eval_runner")


def load_official() -> Official:
    """The official evaluator as a function. Raises ModuleNotFoundError where it is not installed."""
    runner = load_runner()
    enums = import_module("bfcl_eval.constants.enums")
    handler = NativeCalls()

    def judge(case: BfclCase, result: Any) -> Reason:
        entry = {"id": case.task.id, "function": list(case.functions)}
        common = (handler, case.task.id, result)
        if "relevance" in case.category:
            said = runner._evaluate_single_relevance_entry(*common, entry, "strop", case.category)
        else:
            said = runner._evaluate_single_ast_entry(
                *common, list(case.possible), entry, "strop", case.category,
                *(kind[language_of(case.category).upper()] for kind in (enums.Language, enums.ReturnFormat)),
            )  # fmt: skip
        return reason_of_official(said)

    return judge


NAMED = re.compile(r"(?:parameter|Function name):? ('[^']*'|\"[^\"]*\")")
GOLD_INDEX = re.compile(r"for index (\d+) of possible answers")


def reason_of_official(said: Mapping[str, Any]) -> Reason:
    """What the official verdict says, read out of its messages; the last one decides."""
    if said["valid"]:
        return Reason("")
    errors = said["error"]
    if said["error_type"].endswith("cannot_find_match"):
        subs = [sub for error in errors[1:] for sub in error.values()]
        match = GOLD_INDEX.search(errors[0])
        return Reason(
            said["error_type"],
            match.group(1) if match else "",
            tuple(_simple_reason(sub["sub_error_type"], sub["sub_error"]) for sub in subs),
        )
    return _simple_reason(said["error_type"], errors)


def _simple_reason(error_type: str, errors: Sequence[str]) -> Reason:
    found = NAMED.search(errors[-1]) if errors else None
    return Reason(error_type, found.group(1)[1:-1] if found else "")


def reason_of_strop(fault: Fault | None) -> Reason:
    """What Strop's verdict says; subjects the official messages do not name are left out."""
    if fault is None:
        return Reason("")
    named = not fault.error_type.endswith(("list_dict_count", "unclear"))
    candidates = tuple(reason_of_strop(candidate) for candidate in fault.candidates)
    return Reason(fault.error_type, fault.subject if named else "", candidates)


@dataclass(slots=True)
class Tally:
    """What the comparison found."""

    answers: Counter[str]
    """By category."""
    verdicts: Counter[str]
    """By official error type, '' for right."""
    raised: Counter[str]
    """Answers on which the official checker raised, by exception; Strop must find those wrong."""
    differences: list[str]


def compare(cases: Sequence[BfclCase], official: Official, *, seed: int = 0, every: int = 1) -> Tally:
    """Judge every `every`-th mutation of every case by both."""
    tally = Tally(Counter(), Counter(), Counter(), [])
    for case in cases:
        rng = random.Random(f"{seed} {case.task.id}")
        start = rng.randrange(every)
        for number, (calls, content) in enumerate(results_near(case, rng)):
            if number % every == start:
                _judge_both(case, calls, content, official, tally)
    return tally


def compare_answers(
    cases: Sequence[BfclCase], official: Official, results: Sequence[Path], tally: Tally
) -> None:
    """Judge what models answered (directories of ``strop bench bfcl``) by both."""
    known = {case.task.id: case for case in cases}
    for out in results:
        for row in read_answers(out):
            case = known.get(row["id"])
            if case is None or row["error"] == "too_long":
                continue
            calls = tuple(ToolCall(call["name"], call["arguments"]) for call in row["calls"])
            _judge_both(case, calls, row["content"], official, tally)
            if row["correct"] != case.score(calls, row["content"]).correct:
                tally.differences.append(f"{row['id']}: its row says {row['correct']}")


def _judge_both(case: BfclCase, calls: Calls, content: str | None, official: Official, tally: Tally) -> None:
    tally.answers[case.category] += 1
    result: Any = [{call.name: json.dumps(dict(call.arguments))} for call in calls] or content or ""
    ours = reason_of_strop(case.fault(calls, content))
    try:
        theirs = official(copy.copy(case), copy.deepcopy(result))
    except (TypeError, AttributeError, OverflowError, KeyError) as error:
        tally.raised[type(error).__name__] += 1
        if not ours.error_type:
            tally.differences.append(f"{case.task.id}: official raises {error!r}, Strop: right\n    {result}")
        return
    tally.verdicts[theirs.error_type] += 1
    # What both see is compared as they see it: the verdict of `score` must not differ from the fault's.
    if ours != theirs or case.score(calls, content).correct != (not theirs.error_type):
        tally.differences.append(f"{case.task.id}: official {theirs}, Strop {ours}\n    {result}")


def _numbered(cases: Sequence[BfclCase]) -> Iterator[tuple[int, BfclCase]]:
    """With their place in their category."""
    seen: Counter[str] = Counter()
    for case in cases:
        yield seen[case.category], case
        seen[case.category] += 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--per-category", type=int, default=None, help="only the first N tasks of each category"
    )
    parser.add_argument("--every", type=int, default=1, help="only every K-th mutation")
    parser.add_argument("--seed", type=int, default=0, help="of the random combinations")
    parser.add_argument("--results", type=Path, nargs="*", default=[], help="judge these answers, too")
    options = parser.parse_args()
    suite, official = load_suite(SINGLE_TURN), load_official()
    cases = [case for case in suite.cases if isinstance(case, BfclCase)]
    first = [case for number, case in _numbered(cases) if number < (options.per_category or len(cases))]
    tally = compare(first, official, seed=options.seed, every=options.every)
    compare_answers(cases, official, options.results, tally)
    for title, counts in (
        ("category", tally.answers),
        ("official verdict", tally.verdicts),
        ("official raised", tally.raised),
    ):
        print(f"\n{title}")
        for name, count in counts.most_common():
            print(f"  {count:8,}  {name or 'right'}")
    for difference in tally.differences[:50]:
        print(difference)
    print(
        f"\n{sum(tally.answers.values()):,} answers, {len(tally.differences):,} differences ({suite.version})"
    )
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())

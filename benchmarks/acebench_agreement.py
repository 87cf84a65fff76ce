"""Does Strop judge ACEBench's normal tasks as the published checker does?

    python benchmarks/acebench_agreement.py --repo CLONE --data DIR [--per-category N] [--seed S]

CLONE is a clone of the benchmark's repository, of which ``model_eval/checker.py`` is imported, DIR the
English data (or a sample of them). Both judge the gold of every normal task and systematic mutations of it.
Compared are right or wrong and the error type. Where the published checker raises, Strop must find the
answer wrong. Prints the counts and every difference; exits 1 if there is one. Special tasks are judged by
phrases, a dozen lines that the tests cover.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from bfcl_mutations import values_near

from strop.tools.acebench import AceCase, load_suite
from strop.tools.acebench.checker import check_any
from strop.tools.spec import ToolCall

Calls = tuple[ToolCall, ...]


def squeezed(value: Any) -> Any:
    """What is left of an answer after the published evaluator took all white space out of its text."""
    if isinstance(value, str):
        return "".join(value.split())
    if isinstance(value, list | tuple):
        return [squeezed(item) for item in value]
    if isinstance(value, dict):
        return {squeezed(key): squeezed(item) for key, item in value.items()}
    return value


def published(check: Callable[..., Any], case: AceCase, calls: Calls) -> str:
    """The published error type, '' where right; of several right answers the one against the first."""
    output = [{squeezed(call.name): squeezed(dict(call.arguments))} for call in calls]
    said = []
    for gold in case.gold:
        args = (list(case.functions), copy.deepcopy(output), copy.deepcopy(gold), "", case.task.category)
        said.append(check(*args))
        if said[-1]["valid"]:
            return ""
    error: str = said[0]["error_type"]
    return error


def answers_near(case: AceCase, rng: random.Random) -> Iterator[Calls]:
    """The gold, and it changed in its calls, names, arguments and values."""
    assert case.task.gold is not None
    gold = case.task.gold.calls
    yield from (gold, (), gold[::-1], gold[1:], gold + gold[:1], (*gold, ToolCall("unexpected", {"x": 1})))
    names = [tool.name for tool in case.task.tools]
    for place, call in enumerate(gold):
        before, after = gold[:place], gold[place + 1 :]
        for changed in calls_near(call, names, case):
            yield (*before, changed, *after)
            if len(gold) > 1 and rng.random() < 0.2:
                yield (*after, changed, *before)


def calls_near(call: ToolCall, names: list[str], case: AceCase) -> Iterator[ToolCall]:
    arguments = dict(call.arguments)
    yield from (
        ToolCall(name, arguments) for name in (call.name.upper(), f"{call.name}_1", f"{call.name} ", *names)
    )
    yield from (ToolCall(call.name, {}), ToolCall(call.name, {**arguments, "unexpected": 1}))
    tool = next((tool for tool in case.task.tools if tool.name == call.name), None)
    for name in tool.properties if tool else ():
        if name not in arguments:
            yield ToolCall(call.name, {**arguments, name: "x"})
    for name, value in arguments.items():
        rest = {other: kept for other, kept in arguments.items() if other != name}
        yield ToolCall(call.name, rest)
        for near in itertools.chain(values_near(value), ("true", "false", f"well, {value} it is")):
            yield ToolCall(call.name, {**arguments, name: near})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--per-category", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.path.insert(0, str(options.repo))
    check = import_module("model_eval.checker").normal_checker
    answers: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    raised: Counter[str] = Counter()
    differences = []
    for case in load_suite(["normal"], limit=options.per_category, data=options.data).cases:
        assert isinstance(case, AceCase)
        for calls in answers_near(case, random.Random(f"{options.seed} {case.task.id}")):
            answers[case.task.category] += 1
            fault = check_any(case.functions, calls, case.gold)
            ours = fault.error_type if fault else ""
            try:
                theirs = published(check, case, calls)
            except (TypeError, KeyError, AttributeError, IndexError, ValueError, OverflowError) as error:
                raised[type(error).__name__] += 1
                theirs = ours or "raised"
            verdicts[theirs] += 1
            if ours != theirs:
                differences.append(f"{case.task.id}: published {theirs!r}, Strop {ours!r}: {calls}")
    for title, counts in (
        ("category", answers),
        ("published verdict", verdicts),
        ("published raised", raised),
    ):
        print(f"\n{title}")
        for name, number in counts.most_common():
            print(f"  {number:8,}  {name or 'right'}")
    for difference in differences[:30]:
        print(difference)
    print(f"\n{answers.total():,} answers, {len(differences):,} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

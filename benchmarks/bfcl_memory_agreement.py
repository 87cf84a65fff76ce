"""Does Strop judge answers to BFCL's memory questions as the official evaluator does?

    python benchmarks/bfcl_memory_agreement.py

Both judge, for each of the 155 questions, every allowed answer in many spellings and sentences, most of them
wrong, at the end of trajectories with and without calls, with several turns or none. Compared are right or
wrong and the error type. Prints the counts and every difference; exits 1 if there is one.

Needs the official package (`pip install --no-deps bfcl-eval==2026.3.23`); its evaluator is imported as it is.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bfcl_agreement import NativeCalls, load_runner

from strop.tools.bfcl.files import find_data
from strop.tools.bfcl.memory import MemoryCase, load_memory
from strop.tools.spec import ToolCall

Turns = list[list[Any]]
"""Of each step: calls, or text."""

CALLS = (ToolCall("archival_memory_list_keys", {}),)


def texts_near(answer: str) -> Iterator[str]:
    """What a model might say instead of one of the allowed answers."""
    yield from (answer, answer.upper(), answer.lower(), answer.title(), f"It is {answer}.", f"({answer})")
    yield json.dumps({"answer": answer, "context": "You told me so."})
    yield str({"answer": answer, "context": "You told me so."})
    yield from (
        f"*{answer}*",
        f"_{answer}_",
        f"a{answer}",
        f"{answer}s",
        f"{answer}1",
        f"1{answer}",
        f"-{answer}",
    )
    yield from (
        answer[:-1],
        answer[1:],
        answer[::-1],
        f"{answer}'s",
        f'"{answer}"',
        f"{answer}\n",
        f" {answer} ",
    )
    yield from ("/".join(answer), " ".join(answer), ",".join(answer), ".".join(answer), "^".join(answer))
    yield from (
        answer.replace(" ", ""),
        answer.replace(" ", "-"),
        answer.replace(" ", "  "),
        answer.replace("-", " "),
    )
    yield from (
        answer.replace("'", '"'),
        answer.replace(",", ""),
        answer.replace(".", ","),
        f"{answer}%",
        f"${answer}",
    )
    yield from (f"é{answer}", f"{answer}é", f"{answer}{answer}", f"{answer} or {answer[::-1]}", f"[{answer}]")
    yield from (
        "I do not know",
        "{'answer': 'I do not know', 'context': 'I do not know'}",
        " ",
        ".",
        "",
        "()",
    )


def trajectories_with(text: str) -> Iterator[Turns]:
    """The text at the end of a trajectory, and in places where it does not count."""
    yield from ([[text]], [[CALLS, text]], [[CALLS, CALLS, text]], [[text, CALLS]], [["No.", CALLS, text]])
    yield from ([[CALLS]], [[]], [], [[CALLS], [text]], [[text], [text]], [[(), text]], [[text, ()]])


def official(runner: Any, case: MemoryCase, turns: Turns) -> str:
    """The official error type, empty where it is right."""
    result = [[_native(step) for step in turn] for turn in turns]
    said = runner._evaluate_single_agentic_entry(
        NativeCalls(), case.task.id, result, list(case.allowed), {"question": []}, "strop", "memory_kv"
    )
    return "" if said["valid"] else str(said["error"]["error_type"])


def _native(step: Any) -> Any:
    return step if isinstance(step, str) else [{one.name: json.dumps(dict(one.arguments))} for one in step]


def ours(case: MemoryCase, turns: Turns) -> str:
    """Strop's."""
    calls = [[() if isinstance(step, str) else step for step in turn] for turn in turns]
    prose = [
        step if isinstance(step, str) else ""
        for turn in turns
        for step in turn
        if not step or isinstance(step, str)
    ]
    fault = case.fault(calls, prose[-1] if prose else None)
    return "" if fault is None else fault.error_type


def compare(runner: Any, cases: Sequence[MemoryCase]) -> tuple[Counter[str], list[str]]:
    """(verdicts by official error type, differences)."""
    verdicts: Counter[str] = Counter()
    differences = []
    for case in cases:
        for answer in case.allowed:
            for text in texts_near(answer):
                for turns in trajectories_with(text):
                    theirs = official(runner, case, turns)
                    verdicts[theirs] += 1
                    if theirs != ours(case, turns):
                        differences.append(
                            f"{case.task.id}: official {theirs!r}, Strop {ours(case, turns)!r}\n    {turns}"
                        )
    return verdicts, differences


def main() -> int:
    verdicts, differences = compare(load_runner(), load_memory(find_data(), "memory_kv"))
    for name, count in verdicts.most_common():
        print(f"  {count:8,}  {name or 'right'}")
    for difference in differences[:50]:
        print(difference)
    print(f"\n{verdicts.total():,} answers, {len(differences):,} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

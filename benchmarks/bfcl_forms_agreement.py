"""Does Strop read the answers to BFCL's format-sensitivity prompts as the official decoder does?

    python benchmarks/bfcl_forms_agreement.py --official PYTHON [--mutations K] [--seed S]

PYTHON is the interpreter of an environment with bfcl-eval and all it depends on (see bfcl_scoring.py); its
``default_decode_ast_prompting`` runs there. Both read the gold of every task in every variation, written in
the form asked for, and mutations of that text: prose around it, tags and brackets lost, characters dropped,
values replaced by expressions. Compared is what was read, or that nothing was. Prints every difference;
exits 1 if there is one. Where an answer's arithmetic is more than numbers and texts put together, Strop
reads nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from strop.tools.bfcl.answers import UnreadableError, read_answer
from strop.tools.bfcl.overall import FORMAT_SENSITIVITY
from strop.tools.bfcl.suite import load_suite
from strop.tools.bfcl.variations import VariedCase
from strop.tools.spec import ToolCall

OFFICIAL = """
import json, sys
from bfcl_eval.constants.enums import ReturnFormat
from bfcl_eval.model_handler.utils import default_decode_ast_prompting
from bfcl_eval.utils import is_function_calling_format_output
for line in sys.stdin:
    text, form, tagged = json.loads(line)
    try:
        read = default_decode_ast_prompting(text, ReturnFormat(form), tagged)
        said = repr(read) if is_function_calling_format_output(read) else None
    except Exception:  # whatever it raises, the official evaluator counts the answer as unreadable
        said = None
    print(json.dumps(said), flush=True)
"""

EXPRESSIONS = (
    "1 + 2",
    "-3",
    "2 * 3.5",
    "2 ** 8",
    "7 // 2",
    "1 / 4",
    "'a' + 'b'",
    "x",
    "f(1)",
    "f(a=1)",
    "[1, 'a', None]",
    "(1, 2)",
    "{'a': [1, 2]}",
    "a.b",
    "a[0]",
    "a[1:2]",
    "not True",
    "~1",
    "lambda: 0",
    "x if y else z",
    "'it''s'",
    "1_000",
    "0x1f",
    "...",
    "b'x'",
    "f'{x}'",
    "-x",
    "1 / 0",
    "{**x}",
    "*y",
    "True",
    "1 - -1",
    "2 * x",
    "1e400",
)


def written(calls: Sequence[ToolCall], form: str, tagged: bool) -> str:
    """Calls in a form."""
    if form == "python":
        text = f"[{', '.join(_python(call) for call in calls)}]"
    elif form == "json":
        rows = [{"function": call.name, "parameters": dict(call.arguments)} for call in calls]
        text = f"```json\n{json.dumps(rows)}\n```"
    else:
        text = f"<functions>{''.join(_xml(call, form) for call in calls)}</functions>"
    return f"<TOOLCALL>{text}</TOOLCALL>" if tagged else text


def _python(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


def _xml(call: ToolCall, form: str) -> str:
    kinds = {str: "string", bool: "boolean", int: "integer", float: "float", list: "array", dict: "dict"}
    parts = []
    for name, value in call.arguments.items():
        head = f"name={quoteattr(name)}", f'type="{kinds.get(type(value), "null")}"'
        if form == "verbose_xml":
            parts.append(f"<param {head[0]} value={quoteattr(str(value))} {head[1]}/>")
        else:
            parts.append(f"<param {head[0]} {head[1]}>{escape(str(value))}</param>")
    inside = f"<params>{''.join(parts)}</params>" if form == "verbose_xml" else "".join(parts)
    return f"<function name={quoteattr(call.name)}>{inside}</function>"


def mutated(text: str, rng: random.Random) -> str:
    """A text a model might write instead."""
    place = rng.randrange(len(text) + 1)
    changes = (
        f"Sure! {text}", f"{text}\nThat is all.", f"```python\n{text}\n```", f"```{text}```", f"'{text}'",
        text.removeprefix("["), text.removesuffix("]"), text[1:-1], text.replace("TOOLCALL", "toolcall"),
        text.replace("<TOOLCALL>", ""), f"<TOOLCALL>{text}</TOOLCALL>",
        text[:place], text[:place] + text[place + 1 :],
        text[:place] + rng.choice("()[]{}<>'\",=: \n") + text[place:], text.replace("functions>", "calls>"),
        text.replace('"parameters"', '"arguments"'), text.replace("type=", "kind="),
        text.replace("integer", "float"), text.replace("'", '"'), text.replace('"', "'"),
        text.replace("True", "true"),
        f"{text}, {text}", "", "[]", "I cannot.",
        re.sub(r"=[^,)]+", lambda _: f"={rng.choice(EXPRESSIONS)}", text, count=rng.choice((1, 2))),
        re.sub(r"(?<=\()", f"{rng.choice(EXPRESSIONS)}, ", text, count=1),
    )  # fmt: skip
    return rng.choice(changes)


def texts(case: VariedCase, count: int, rng: random.Random) -> Iterator[str]:
    gold = case.base.task.gold
    text = written(gold.calls if gold else (), case.variation.form, case.variation.tagged)
    yield text
    for _ in range(count):
        changed = mutated(text, rng)
        yield mutated(changed, rng) if rng.random() < 0.3 else changed


def ours(text: str, case: VariedCase) -> str | None:
    try:
        calls = read_answer(text, case.variation.form, case.variation.tagged)
    except UnreadableError:
        return None
    return repr([{call.name: call.arguments} for call in calls])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", required=True, help="interpreter with bfcl-eval installed")
    parser.add_argument("--mutations", type=int, default=4, help="of each task in each variation")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    official = subprocess.Popen(
        [options.official, "-c", OFFICIAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert official.stdin is not None
    assert official.stdout is not None
    counts: Counter[str] = Counter()
    differences: list[str] = []
    for case in load_suite([FORMAT_SENSITIVITY]).cases:
        assert isinstance(case, VariedCase)
        for text in texts(case, options.mutations, random.Random(f"{options.seed} {case.task.id}")):
            request: Any = [text, case.variation.form, case.variation.tagged]
            official.stdin.write(json.dumps(request) + "\n")
            official.stdin.flush()
            theirs, mine = json.loads(official.stdout.readline()), ours(text, case)
            counts[f"{case.variation.form}, {'nothing' if theirs is None else 'calls'} read"] += 1
            if theirs != mine:
                differences.append(
                    f"{case.variation.form} {text!r}\n    official {theirs}\n    Strop    {mine}"
                )
    official.stdin.close()
    official.wait()
    for name, number in sorted(counts.items()):
        print(f"  {number:8,}  {name}")
    for difference in differences[:20]:
        print(difference)
    print(f"\n{counts.total():,} texts, {len(differences):,} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

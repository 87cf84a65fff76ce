"""Does Strop judge multi-turn trajectories as the official checker does?

    python benchmarks/bfcl_multi_turn_agreement.py [--per-category N] [--mutations K] [--seed S] [--results
    DIR ...]

Both judge the gold trajectory of every multi-turn task, and mutations of it: calls left out, doubled, moved
to another step or turn, in another order, with other arguments, arguments missing or unexpected, unknown
tools, harmless extra calls, turns left empty or never reached; and, where given, what models answered
(``answers.jsonl`` of ``strop bench bfcl``). Compared are right or wrong, the error type, and the simulator
or turn it is about. Prints the counts and every difference; exits 1 if there is one.

Needs the official package (`pip install --no-deps bfcl-eval==2026.3.23`); its multi-turn checker and
simulators are imported as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from strop.agent.rows import read_answers
from strop.tools.bfcl.episodes import BfclEpisode
from strop.tools.bfcl.files import find_data, question_file, rows_of
from strop.tools.bfcl.suite import load_suite
from strop.tools.bfcl.worlds import Invocation
from strop.tools.spec import ToolCall

Turns = list[list[list[ToolCall]]]
"""Calls of each step of each turn."""


# --- trajectories -------------------------------------------------------------------------------------------


def gold_turns(episode: BfclEpisode) -> Turns:
    """The gold, a step a turn; what it gives by position is given by name."""
    names = {tool.name: list(tool.properties) for turn in episode.turns for tool in turn.tools}
    turns: Turns = []
    for texts in episode.gold:
        calls = []
        for invocation in map(Invocation.parse, texts):
            given = dict(zip(names.get(invocation.name, ()), invocation.positional, strict=False))
            calls.append(ToolCall(invocation.name, {**given, **invocation.arguments}))
        turns.append([calls] if calls else [])
    return turns


def mutations(episode: BfclEpisode, rng: random.Random) -> Iterator[Turns]:
    """Endlessly, one to three changes of the gold."""
    while True:
        turns = gold_turns(episode)
        for _ in range(rng.choice((1, 1, 2, 3))):
            rng.choice(CHANGES)(turns, episode, rng)
        yield turns


def _place(turns: Turns, rng: random.Random) -> tuple[list[ToolCall], int] | None:
    """A step and the number of a call in it."""
    places = [(step, at) for turn in turns for step in turn for at in range(len(step))]
    return rng.choice(places) if places else None


def drop(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    if place := _place(turns, rng):
        del place[0][place[1]]


def double(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    if place := _place(turns, rng):
        place[0].insert(place[1], place[0][place[1]])


def shuffle(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    if place := _place(turns, rng):
        rng.shuffle(place[0])


def split(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    turn = rng.choice(turns)
    turn[:] = [[call] for step in turn for call in step]


def move(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    if place := _place(turns, rng):
        call = place[0].pop(place[1])
        rng.choice(turns).append([call])


def empty(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    rng.choice(turns).clear()


def stop_early(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    del turns[rng.randrange(1, len(turns) + 1) :]


def replace_value(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    place = _place(turns, rng)
    if place is None:
        return
    call = place[0][place[1]]
    arguments = dict(call.arguments)
    changes: list[Any] = ["", None, 0, -1, 3.5, True, "x", [], {}, "ls(", "now add (1) and cd('a')", "5"]
    if arguments:
        name = rng.choice(list(arguments))
        value = arguments[name]
        changes += [str(value), [value], f"{value} "]
        changes += [value.upper(), value[::-1], value[:-1]] if isinstance(value, str) else []
        changes += [value + 1, float(value), -value] if isinstance(value, int | float) else []
        changes += [value[::-1], value[:1]] if isinstance(value, list) else []
        arguments[name] = rng.choice(changes)
    else:
        arguments["unexpected"] = rng.choice(changes)
    place[0][place[1]] = ToolCall(call.name, arguments)
    del episode


def other_arguments(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    del episode
    if place := _place(turns, rng):
        call = place[0][place[1]]
        arguments = dict(call.arguments)
        if arguments and rng.random() < 0.5:
            del arguments[rng.choice(list(arguments))]
        else:
            arguments["unexpected"] = 1
        place[0][place[1]] = ToolCall(call.name, arguments)


def other_name(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    if place := _place(turns, rng):
        call = place[0][place[1]]
        names = [tool.name for tool in episode.turns[-1].tools]
        name = rng.choice([*names, "nothing", call.name.upper(), f"Class.{call.name}", "print", ""])
        place[0][place[1]] = ToolCall(name, call.arguments)


def extra(turns: Turns, episode: BfclEpisode, rng: random.Random) -> None:
    plain = [tool.name for tool in episode.turns[-1].tools if not tool.required]
    if plain:
        rng.choice(turns).append([ToolCall(rng.choice(plain), {})])


CHANGES = (
    drop, double, shuffle, split, move, empty, stop_early, replace_value, replace_value, other_arguments,
    other_name, extra,
)  # fmt: skip


# --- the two verdicts ---------------------------------------------------------------------------------------

Reason = tuple[str, str]
"""Error type, '' where right; and the simulator or the turn."""


class Official:
    """The official checker. Every trajectory has a model name of its own: the checker keeps worlds by it."""

    def __init__(self) -> None:
        self._check = import_module(
            "bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker"
        ).multi_turn_checker
        self._numbers = itertools.count()
        utils = import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils")
        self._kept: dict[str, Any] = vars(utils)

    def __call__(self, row: dict[str, Any], gold: Sequence[Sequence[str]], turns: Turns) -> Reason:
        if len(turns) != len(gold):
            return "multi_turn:force_terminated", ""
        model = f"strop{next(self._numbers)}"
        decoded = [[[as_text(call) for call in step] for step in turn if step] for turn in turns]
        with contextlib.redirect_stdout(io.StringIO()):
            said = self._check(
                decoded, [list(texts) for texts in gold], row, row["id"].rsplit("_", 1)[0], model
            )
        for name in [name for name in self._kept if name.startswith(model)]:
            del self._kept[name]
        if said["valid"]:
            return "", ""
        about = re.search(r"for turn (\d+)|instance for (\w+) does", said["error_message"])
        return said["error_type"], next(filter(None, about.groups())) if about else ""


def as_text(call: ToolCall) -> str:
    """As the official handlers of models with native calls write it."""
    return f"{call.name}({','.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


def answers(out: Path) -> Iterator[tuple[str, Turns]]:
    """What a model answered, by task."""
    for row in read_answers(out):
        if "turns" in row:
            yield (
                row["id"],
                [
                    [[ToolCall(call["name"], call["arguments"]) for call in step["calls"]] for step in turn]
                    for turn in row["turns"]
                ],
            )


def compare(
    episodes: Sequence[BfclEpisode], given: dict[str, list[Turns]], count: int, seed: int
) -> tuple[Counter[str], Counter[str], list[str]]:
    """Answers by category, official verdicts by error type, and the differences."""
    official, directory = Official(), find_data()
    categories = {episode.task.category for episode in episodes}
    rows = {row["id"]: row for name in categories for row in rows_of(question_file(directory, name), "id")}
    judged: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    differences: list[str] = []
    for episode in episodes:
        rng = random.Random(f"{seed} {episode.task.id}")
        changed = itertools.islice(mutations(episode, rng), count)
        for turns in (gold_turns(episode), *changed, *given.get(episode.task.id, ())):
            theirs = official(rows[episode.task.id], episode.gold, turns)
            fault = episode.fault(turns)
            ours = (fault.error_type, fault.subject) if fault else ("", "")
            judged[episode.task.category] += 1
            verdicts[theirs[0]] += 1
            if ours != theirs:
                differences.append(f"{episode.task.id}: official {theirs}, Strop {ours}\n    {turns}")
    return judged, verdicts, differences


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--per-category", type=int, default=None, help="only the first N tasks of each category"
    )
    parser.add_argument("--mutations", type=int, default=8, help="mutations of each task's gold")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, nargs="*", default=[], help="directories of strop bench bfcl")
    options = parser.parse_args()
    suite = load_suite(["multi_turn"], limit=options.per_category)
    episodes = [case for case in suite.cases if isinstance(case, BfclEpisode)]
    given: dict[str, list[Turns]] = {}
    for out in options.results:
        for task_id, turns in answers(out):
            given.setdefault(task_id, []).append(turns)
    judged, verdicts, differences = compare(episodes, given, options.mutations, options.seed)
    for title, counts in (("category", judged), ("official verdict", verdicts)):
        print(f"\n{title}")
        for name, number in counts.most_common():
            print(f"  {number:8,}  {name or 'right'}")
    for difference in differences[:50]:
        print(difference)
    print(f"\n{judged.total():,} trajectories, {len(differences):,} differences ({suite.version})")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

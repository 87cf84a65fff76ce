"""BFCL's tasks, read from the files of the installed ``bfcl-eval`` distribution.

Covered is every category that needs no network: single turns in Python, Java and JavaScript, the multi-turn
ones, and two that are asked for by name: memory, which needs further packages, and format sensitivity, which
is no part of the overall and 5,200 prompts long. Web search needs a search service's key and the open
internet, so that no two runs of it see the same; its answers are not asked for here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from strop.tools.bfcl.checker import language_of
from strop.tools.bfcl.episodes import MULTI_TURN, load_episodes, new_simulators
from strop.tools.bfcl.files import find_data, version_of
from strop.tools.bfcl.memory import load_memory, require
from strop.tools.bfcl.overall import FORMAT_SENSITIVITY, MEMORY, overalls
from strop.tools.bfcl.single import BfclCase, load_cases, load_questions
from strop.tools.errors import UsageError
from strop.tools.local_suite import Categories
from strop.tools.simulators import Simulators
from strop.tools.suite import AnyCase, Suite

NON_LIVE: tuple[str, ...] = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
)
LIVE: tuple[str, ...] = (
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
SINGLE_TURN = NON_LIVE + LIVE
CATEGORIES = SINGLE_TURN + MULTI_TURN
"""The categories there are, in the order they are run and reported."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "all": CATEGORIES,
    "single_turn": SINGLE_TURN,
    "multi_turn": MULTI_TURN,
    "non_live": NON_LIVE,
    "live": LIVE,
    "memory": MEMORY,
    "python": tuple(name for name in SINGLE_TURN if language_of(name) == "python"),
}
"""Names for several categories, as the official command has them."""

_ELSEWHERE: Mapping[str, str] = {
    "web_search": "web search asks a search service over the internet, with a key: run it with bfcl-eval",
}
WEB_SEARCH = "web_search"
COMPARED = (*CATEGORIES, "memory_kv", WEB_SEARCH)
"""What training data are compared with: all that is asked, once. The other memories are asked the same as
the first, and format sensitivity asks Python tasks again."""
NAMES = (*CATEGORIES, *MEMORY, FORMAT_SENSITIVITY)
"""All of them, those asked by name only included."""
_NAMED = Categories("BFCL", NAMES, GROUPS, _ELSEWHERE)


def load_suite(
    categories: Sequence[str] = (), *, limit: int | None = None, data: Path | None = None
) -> Suite:
    """The first `limit` tasks of each category, by default of `CATEGORIES`; `GROUPS` may be named, too.

    Read from `data`, else the directory named by $STROP_BFCL_DATA, else the installed ``bfcl-eval``.
    Raises UsageError for an unknown category or one whose packages are not installed, DataError where a file
    is missing or malformed.
    """
    wanted = _NAMED.resolve(categories or CATEGORIES)
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 task a category, got {limit}")
    directory = data or find_data()
    simulators = new_simulators()
    cases: list[AnyCase] = []
    sizes: dict[str, int] = {}
    for category in wanted:
        if category in MEMORY:
            require(category)
        found = load_category(category, directory, simulators)
        sizes[category] = len(found)
        cases += found[:limit]
    return Suite("bfcl", version_of(directory, NAMES), tuple(cases), sizes, overalls)


def load_category(
    category: str, directory: Path | None = None, simulators: Simulators | None = None
) -> Sequence[AnyCase]:
    """All tasks of one category, in their file's order. Episodes are played in `simulators`, or their own.

    Of web search only the questions, which nobody can judge here. Raises MissingDataError for a missing
    file, DataError for a malformed one.
    """
    directory = directory or find_data()
    if category in MULTI_TURN:
        return load_episodes(directory, category, simulators or new_simulators())
    if category in MEMORY:
        return load_memory(directory, category)
    if category == WEB_SEARCH:
        return load_questions(category, directory)
    if category == FORMAT_SENSITIVITY:
        # Its XML tools cost imports that nothing else needs.
        from strop.tools.bfcl.variations import vary

        return tuple(vary(_python_cases(directory), directory))
    return load_cases(category, directory)


def _python_cases(directory: Path) -> dict[str, BfclCase]:
    """The tasks that may be asked in several ways, by id."""
    names = (name for name in GROUPS["python"] if "relevance" not in name)
    return {case.task.id: case for name in names for case in load_cases(name, directory)}

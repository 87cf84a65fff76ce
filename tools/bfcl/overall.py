"""BFCL's overall scores, as its two last versions define them.

Version 4 (bfcl-eval 2026.3.23, ``generate_leaderboard_csv``): a tenth each for non-live, live and
irrelevance, three for multi-turn and four for the agentic categories. Version 3: the mean of non-live, live
and multi-turn, where irrelevance is part of the first and irrelevance and relevance of the second. In both,
categories that were not run count as zero; of those run in part, the tasks that were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev

from strop.tools.suite import Overall, Scores

SIMPLE = ("simple_python", "simple_java", "simple_javascript")
NON_LIVE_CALLS = ("multiple", "parallel", "parallel_multiple")
LIVE_CALLS = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
WEB_SEARCH = ("web_search_base", "web_search_no_snippet")
_LIVE_TASKS = {
    "live_simple": 258,
    "live_multiple": 1053,
    "live_parallel": 16,
    "live_parallel_multiple": 24,
    "live_irrelevance": 884,
    "live_relevance": 16,
}
"""What a category that was not run weighs beside others."""
FORMAT_SENSITIVITY = "format_sensitivity"
MEMORY = ("memory_kv", "memory_vector", "memory_rec_sum")


def overalls(scores: Scores, sizes: Mapping[str, int]) -> Sequence[Overall]:
    """The groups' scores and both versions' overalls."""
    table = _Table(scores, sizes)
    groups = [
        table.overall("non-live", table.non_live(), (*SIMPLE, *NON_LIVE_CALLS)),
        table.overall("live", table.weighted(LIVE_CALLS), LIVE_CALLS),
        table.overall("irrelevance", table.irrelevance(), ("irrelevance", "live_irrelevance")),
        table.overall("multi-turn", table.mean(MULTI_TURN), MULTI_TURN),
        table.overall("memory", table.mean(MEMORY), MEMORY),
    ]
    single = (*SIMPLE, *NON_LIVE_CALLS, "irrelevance", *LIVE_CALLS, "live_irrelevance")
    whole = (*single, *MULTI_TURN)
    agentic = (*WEB_SEARCH, *MEMORY)
    versions = [
        table.overall("BFCL v3 overall", table.version_3(), (*whole, "live_relevance")),
        table.overall("BFCL v4 overall", table.version_4(), (*whole, *agentic)),
    ]
    asked = any(name in scores for name in (*whole, *agentic, "live_relevance"))
    return (
        *(group for group in groups if group.accuracy or not group.partial),
        *(versions if asked else ()),
        *_format_sensitivity(scores, sizes),
    )


def _format_sensitivity(scores: Scores, sizes: Mapping[str, int]) -> Iterator[Overall]:
    """How much accuracy differs between the ways of asking: the greatest difference, and the deviation."""
    verdicts = scores.get(FORMAT_SENSITIVITY, {})
    by_variation: dict[str, list[float]] = {}
    for task_id, right in verdicts.items():
        by_variation.setdefault(task_id.split(":")[1], []).append(right)
    accuracies = [mean(right) for right in by_variation.values()]
    if len(accuracies) > 1:
        whole = len(verdicts) >= sizes.get(FORMAT_SENSITIVITY, math.inf)
        missing = () if whole else (FORMAT_SENSITIVITY,)
        yield Overall("format sensitivity, greatest difference", max(accuracies) - min(accuracies), missing)
        yield Overall("format sensitivity, standard deviation", stdev(accuracies), missing)


class _Table:
    def __init__(self, scores: Scores, sizes: Mapping[str, int]):
        self._scores = scores
        self._sizes = sizes

    def overall(self, name: str, accuracy: float, categories: Sequence[str]) -> Overall:
        missing = tuple(category for category in categories if not self._is_whole(category))
        return Overall(name, accuracy, missing)

    def mean(self, categories: Sequence[str]) -> float:
        return mean(self._accuracy(category) for category in categories)

    def weighted(self, categories: Sequence[str]) -> float:
        """Every task counts the same, whatever its category."""
        tasks = [len(self._scores.get(category, ())) or _LIVE_TASKS[category] for category in categories]
        right = [self._accuracy(category) * count for category, count in zip(categories, tasks, strict=True)]
        return sum(right) / sum(tasks)

    def non_live(self) -> float:
        return mean((self.mean(SIMPLE), *map(self._accuracy, NON_LIVE_CALLS)))

    def irrelevance(self) -> float:
        return self.mean(("irrelevance", "live_irrelevance"))

    def version_3(self) -> float:
        non_live = mean((self.mean(SIMPLE), *map(self._accuracy, (*NON_LIVE_CALLS, "irrelevance"))))
        live = self.weighted((*LIVE_CALLS, "live_irrelevance", "live_relevance"))
        return mean((non_live, live, self.mean(MULTI_TURN)))

    def version_4(self) -> float:
        agentic = mean((self.mean(WEB_SEARCH), self.mean(MEMORY)))
        tenths = (self.non_live(), self.weighted(LIVE_CALLS), self.irrelevance())
        return 0.1 * sum(tenths) + 0.3 * self.mean(MULTI_TURN) + 0.4 * agentic

    def _accuracy(self, category: str) -> float:
        return mean(self._scores[category].values()) if self._scores.get(category) else 0.0

    def _is_whole(self, category: str) -> bool:
        return len(self._scores.get(category, ())) >= self._sizes.get(category, math.inf)

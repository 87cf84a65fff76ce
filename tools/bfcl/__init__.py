"""The Berkeley Function Calling Leaderboard: its tasks, single-turn and multi-turn, and their checkers."""

from strop.tools.bfcl.checker import check
from strop.tools.bfcl.episodes import MULTI_TURN, BfclEpisode
from strop.tools.bfcl.fault import Fault
from strop.tools.bfcl.files import find_data
from strop.tools.bfcl.single import BfclCase, load_cases
from strop.tools.bfcl.suite import CATEGORIES, GROUPS, SINGLE_TURN, load_suite

__all__ = [
    "CATEGORIES",
    "GROUPS",
    "MULTI_TURN",
    "SINGLE_TURN",
    "BfclCase",
    "BfclEpisode",
    "Fault",
    "check",
    "find_data",
    "load_cases",
    "load_suite",
]

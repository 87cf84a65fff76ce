"""The Berkeley Function Calling Leaderboard: its single-turn Python tasks and their checker."""

from strop.tools.bfcl.checker import Fault, check
from strop.tools.bfcl.suite import CATEGORIES, BfclCase, BfclSuite, find_data, load_suite

__all__ = ["CATEGORIES", "BfclCase", "BfclSuite", "Fault", "check", "find_data", "load_suite"]

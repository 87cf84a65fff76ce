"""ACEBench: calls with every type of argument, similar tools, and requests that lack something."""

from strop.tools.acebench.suite import CATEGORIES, GROUPS, AceCase, load_suite

__all__ = ["CATEGORIES", "GROUPS", "AceCase", "load_suite"]

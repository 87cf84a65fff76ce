"""ACEBench: calls with every type of argument, similar tools, and requests that lack something."""

from strop.tools.acebench.suite import CATEGORIES, COMPARED, GROUPS, AceCase, load_category, load_suite

__all__ = ["CATEGORIES", "COMPARED", "GROUPS", "AceCase", "load_category", "load_suite"]

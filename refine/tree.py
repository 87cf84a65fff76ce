"""The search tree: parent-linked nodes that share token prefixes. Data and its laws, nothing else.

A node is a fragment of token ids that continues its parent's; the root is the empty answer. A node is
either *terminal*, the end of a sampled answer with what that answer says, or a place between two joints.
Every sampled answer is a path from the root to a terminal node, and each adds one visit and its reward to
every node of the path. `violations` lists the laws that this implies; they hold after every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strop.refine.joints import Joint
from strop.refine.sample import DIGITS, UNKNOWN_LOGPROB, Outcome


@dataclass(frozen=True, slots=True)
class Fragment:
    """A node to be: the ids between two joints of one sampled answer."""

    ids: tuple[int, ...]
    joint: Joint
    logprob: float
    """Sum of the ids' log-probabilities under the policy."""


@dataclass(slots=True)
class Node:
    """A fragment in its place."""

    index: int
    parent: int | None
    """None for the root only."""
    ids: tuple[int, ...]
    """Continues the parent's prefix; empty for the root only."""
    joint: Joint
    logprob: float
    """Sum over `ids`."""
    visits: int = 0
    value_sum: float = 0.0
    children: list[int] = field(default_factory=list)
    """Indices, in the order they were first sampled."""
    expanded: bool = False
    """Whether continuations were sampled from exactly here."""
    outcome: Outcome | None = None
    """Of terminal nodes only."""
    pending: int = 0
    """Answers being sampled at or below this node: virtual losses, gone when they land. Not stored."""

    @property
    def value(self) -> float:
        """Mean reward of the answers through here; 0 before the first."""
        return self.value_sum / self.visits if self.visits else 0.0

    @property
    def prior(self) -> float:
        """exp(mean log-probability of the ids), in (0, 1]; not normalised over siblings."""
        return math.exp(min(0.0, self.logprob / len(self.ids))) if self.ids else 1.0

    @property
    def is_unknown(self) -> bool:
        """Whether the engine gave no log-probabilities."""
        return self.logprob == UNKNOWN_LOGPROB * len(self.ids)


@dataclass(slots=True)
class SearchTree:
    """All answers sampled for one task."""

    task_id: str
    category: str
    prompt_ids: tuple[int, ...]
    nodes: list[Node]
    """`nodes[0]` is the root; a parent always comes before its children."""
    generated_tokens: int = 0
    """Ids sampled for this tree, those that merged with earlier ones included."""

    @classmethod
    def rooted(cls, task_id: str, category: str, prompt_ids: Sequence[int]) -> SearchTree:
        """A tree with nothing but its root."""
        return cls(task_id, category, tuple(prompt_ids), [Node(0, None, (), Joint.ROOT, 0.0)])

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def path(self, node: Node) -> list[Node]:
        """Nodes from the root to `node`, both included."""
        path = [node]
        while path[-1].parent is not None:
            path.append(self.nodes[path[-1].parent])
        return path[::-1]

    def prefix_ids(self, node: Node) -> tuple[int, ...]:
        """Answer ids from the start to the end of `node`'s fragment."""
        return tuple(token for step in self.path(node) for token in step.ids)

    def children(self, node: Node) -> list[Node]:
        return [self.nodes[index] for index in node.children]

    def covered(self, node: Node) -> float:
        """Probability that what the policy writes after `node` begins like one of its children.

        Children whose log-probability nobody knows count nothing.
        """
        known = (child.logprob for child in self.children(node) if not child.is_unknown)
        return min(1.0, sum(math.exp(min(0.0, logprob)) for logprob in known))

    def leaves(self, node: Node | None = None) -> Iterator[Node]:
        """Terminal nodes at or below `node` (default: all), depth first."""
        node = node or self.root
        if node.outcome is not None:
            yield node
        for child in self.children(node):
            yield from self.leaves(child)

    def graft(self, start: Node, fragments: Sequence[Fragment], outcome: Outcome) -> Node:
        """Add one sampled answer below `start`, reusing nodes with equal ids; returns its terminal node.

        `fragments` are non-empty; the last becomes the terminal node. Visits are `backup`'s business.
        """
        node = start
        for fragment in fragments[:-1]:
            node = self._child(node, fragment, None)
        return self._child(node, fragments[-1], outcome)

    def _child(self, parent: Node, fragment: Fragment, outcome: Outcome | None) -> Node:
        for child in self.children(parent):
            if child.ids == fragment.ids and (child.outcome is None) == (outcome is None):
                return child
        node = Node(
            len(self.nodes), parent.index, fragment.ids, fragment.joint, fragment.logprob, outcome=outcome
        )
        self.nodes.append(node)
        parent.children.append(node.index)
        return node

    def claim(self, node: Node, width: int) -> None:
        """Take `node` to be expanded by `width` answers: as many virtual losses on every node to it."""
        node.expanded = True
        for step in self.path(node):
            step.pending += width

    def release(self, node: Node, width: int) -> None:
        """Undo the virtual losses of `claim`: what was sampled is there."""
        for step in self.path(node):
            step.pending -= width

    def backup(self, leaf: Node) -> None:
        """Add one visit and the leaf's reward to every node from it to the root."""
        reward = leaf.outcome.reward if leaf.outcome else 0.0
        for node in self.path(leaf):
            node.visits += 1
            node.value_sum = round(node.value_sum + reward, DIGITS)

    def to_json(self) -> dict[str, Any]:
        """The tree as `from_json` reads it."""
        return {
            "version": 1,
            "task_id": self.task_id,
            "category": self.category,
            "prompt_ids": list(self.prompt_ids),
            "generated_tokens": self.generated_tokens,
            "nodes": [
                {
                    "parent": node.parent,
                    "ids": list(node.ids),
                    "joint": node.joint,
                    "logprob": node.logprob,
                    "visits": node.visits,
                    "value_sum": node.value_sum,
                    "expanded": node.expanded,
                    "outcome": node.outcome.to_json() if node.outcome else None,
                }
                for node in self.nodes
            ],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SearchTree:
        """Raises KeyError, TypeError or ValueError where `row` is no tree of this version."""
        if row["version"] != 1:
            raise ValueError(f"tree version {row['version']}, this Strop reads 1")
        nodes = [
            Node(
                index=index,
                parent=node["parent"],
                ids=tuple(node["ids"]),
                joint=Joint(node["joint"]),
                logprob=node["logprob"],
                visits=node["visits"],
                value_sum=node["value_sum"],
                expanded=node["expanded"],
                outcome=Outcome.from_json(node["outcome"]) if node["outcome"] else None,
            )
            for index, node in enumerate(row["nodes"])
        ]
        for node in nodes[1:]:
            nodes[node.parent or 0].children.append(node.index)
        return cls(row["task_id"], row["category"], tuple(row["prompt_ids"]), nodes, row["generated_tokens"])


def violations(tree: SearchTree) -> list[str]:
    """Laws of the tree that do not hold, each as a sentence; empty for a sound tree."""
    broken: list[str] = []
    for node in tree.nodes:
        children = tree.children(node)
        name = f"node {node.index}"
        if (node.parent is None) != (node.index == 0) or (node.parent or 0) > node.index:
            broken.append(f"{name}: its parent does not come before it")
        if bool(node.ids) != (node.index > 0):
            broken.append(f"{name}: only the root has no ids")
        if (node.outcome is not None) and children:
            broken.append(f"{name}: terminal, but has children")
        if len({(child.ids, child.outcome is None) for child in children}) < len(children):
            broken.append(f"{name}: two children with the same ids were not merged")
        if children and node.visits != sum(child.visits for child in children):
            broken.append(f"{name}: {node.visits} visits, its children's do not add up to it")
        if children and not math.isclose(node.value_sum, sum(c.value_sum for c in children), abs_tol=1e-3):
            broken.append(f"{name}: value sum is not its children's")
        if not -1e-9 <= node.value <= 1 + 1e-9:
            broken.append(f"{name}: mean value {node.value} outside [0, 1]")
    return broken

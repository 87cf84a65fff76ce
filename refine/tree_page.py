"""A collection's page: its trees and pairs to browse, one HTML file without outside requests.

Trees keep ids and no text, so that nothing is stored twice; the page spells them with the model's own
template. Every tree is a script element of data that is parsed when it is first looked at, and text only ever
becomes text: nothing that a model or a file says is markup here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from strop.agent.chat import Ids, Template
from strop.agent.failure import shown_message
from strop.refine.record import PairRecord, RecordSide, read_records
from strop.refine.tree import Node, SearchTree
from strop.refine.tree_index import TreeEntry, entries, load_tree
from strop.tools.errors import DataError
from strop.tools.files import read_jsonl, write_text
from strop.tools.task import Task

Decode = Callable[[Ids], str]
"""Ids to text, special tokens spelled."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """What a page shows."""

    title: str
    model: str
    trees: Sequence[Mapping[str, Any]]
    """One entry a tree, for the list: what can be filtered by, and its pairs."""
    nodes: Sequence[Sequence[Any]]
    """Beside `trees`: the nodes of each, as `node_rows` makes them."""
    left_out: int
    """Trees of the collection that are not on the page."""
    totals: Mapping[str, int] = field(default_factory=dict)


def gallery(
    folder: Path, template: Template, tasks: Mapping[str, Task], *, model: str, limit: int
) -> Gallery:
    """Of the collection in `folder`, with at most `limit` trees, those with pairs first.

    Raises DataError where there is no tree, or where one or a pair cannot be read.
    """
    found = entries(folder / "trees")
    if not found:
        raise DataError("holds no search tree", path=folder)
    pairs = _pairs(folder / "pairs.jsonl")
    selections = _selections(folder / "deficiencies.jsonl")
    first = sorted(found, key=lambda entry: (entry.task_id not in pairs, entry.task_id))[:limit]
    shown = sorted(first, key=lambda entry: entry.task_id)
    rows, nodes = [], []
    for entry in shown:
        tree = load_tree(folder / "trees" / entry.file)
        task = tasks.get(entry.task_id)
        rows.append(
            _listed(entry, tree, task, pairs.get(entry.task_id, ()), selections.get(entry.task_id, ""))
        )
        nodes.append(node_rows(tree, lambda ids: template.decode(ids, skip_special=False)))
    return Gallery(
        title=folder.resolve().name,
        model=model,
        trees=rows,
        nodes=nodes,
        left_out=len(found) - len(shown),
        totals={
            "trees": len(found),
            "pairs": sum(map(len, pairs.values())),
            "answers": sum(entry.answers for entry in found),
            "right": sum(entry.right for entry in found),
            "tokens": sum(entry.generated_tokens for entry in found),
            "nodes": sum(entry.nodes for entry in found),
        },
    )


def write_gallery(path: Path, shown: Gallery) -> None:
    """Write the page. Raises RunError."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("strop.refine") / "trees.html.j2").read_text("utf-8"))
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    write_text(path, template.render(shown=shown, written=written))


def node_rows(tree: SearchTree, decode: Decode) -> list[list[Any]]:
    """[parent, text, joint, visits, mean value, prior, log-probability, ids, leaf] of every node; the leaf is
    null or [error or "", detail, reward, complete]."""
    return [
        [
            -1 if node.parent is None else node.parent,
            _spelled(tree, node, decode),
            str(node.joint),
            node.visits,
            round(node.value, 4),
            round(node.prior, 4),
            round(node.logprob, 3),
            len(node.ids),
            _leaf(node),
        ]
        for node in tree.nodes
    ]


def trail(tree: SearchTree, ids: Ids, node: Node | None = None) -> tuple[int, ...]:
    """Indices of the nodes that `ids` run through from the root, the last of which may go on beyond them.

    Empty where the tree has no such path, as for a gold answer nobody sampled.
    """
    node = node or tree.root
    if not ids:
        return (node.index,)
    # A node that ends exactly where the ids end goes before one that goes on.
    for child in sorted(tree.children(node), key=lambda child: len(child.ids) > len(ids)):
        if child.ids[: len(ids)] == ids[: len(child.ids)]:
            rest = trail(tree, ids[len(child.ids) :], child)
            if rest:
                return (node.index, *rest)
    return ()


def _spelled(tree: SearchTree, node: Node, decode: Decode) -> str:
    """What a node adds to its parent's text: some tokenizers drop the space of a first token."""
    before = tree.nodes[node.parent].ids if node.parent is not None else ()
    return decode(before + node.ids)[len(decode(before)) :]


def _leaf(node: Node) -> list[Any] | None:
    if node.outcome is None:
        return None
    verdict = node.outcome.verdict
    return [str(verdict.error or ""), verdict.detail, round(node.outcome.reward, 4), node.outcome.complete]


def _listed(
    entry: TreeEntry, tree: SearchTree, task: Task | None, pairs: Sequence[PairRecord], selection: str
) -> dict[str, Any]:
    errors: Counter[str] = Counter()
    for leaf in tree.leaves():
        if leaf.outcome and leaf.outcome.verdict.error:
            errors[str(leaf.outcome.verdict.error)] += leaf.visits
    return {
        "id": entry.task_id,
        "category": entry.category or "uncategorised",
        "selection": selection,
        "errors": dict(errors.most_common()),
        "nodes": entry.nodes,
        "answers": entry.answers,
        "right": entry.right,
        "tokens": entry.generated_tokens,
        "asked": [shown_message(message) for message in task.messages] if task else [],
        "tools": [tool.name for tool in task.tools] if task else [],
        "gold": _gold(task),
        "pairs": [_pair(tree, pair) for pair in pairs],
    }


def _gold(task: Task | None) -> str:
    if task is None or task.gold is None:
        return ""
    return "\n".join(map(str, task.gold.calls)) or task.gold.response or "(no call)"


def _pair(tree: SearchTree, pair: PairRecord) -> dict[str, Any]:
    """A pair and its sides' paths; `at` is the last node they share, -1 where one is not in the tree."""
    sides = [_side(tree, pair, side) for side in (pair.chosen, pair.rejected)]
    both = zip(*(side["path"] for side in sides), strict=False)
    return {
        "id": pair.id,
        "kind": str(pair.kind or "unknown"),
        "source": pair.source,
        "chosen": sides[0],
        "rejected": sides[1],
        "at": max((one for one, other in both if one == other), default=-1),
    }


def _side(tree: SearchTree, pair: PairRecord, side: RecordSide) -> dict[str, Any]:
    path = trail(tree, pair.prefix_ids + side.ids)
    return {"text": side.text or "", "value": side.value, "verdict": side.verdict or "", "path": list(path)}


def _pairs(file: Path) -> dict[str, list[PairRecord]]:
    """Accepted pairs by task; none before the last stage is done."""
    found: dict[str, list[PairRecord]] = {}
    if file.exists():
        records, bad = read_records(file)
        if bad:
            raise DataError(bad[0].reason, path=file, line=bad[0].line)
        for record in records:
            found.setdefault(record.task_id, []).append(record)
    return found


def _selections(file: Path) -> dict[str, str]:
    """Why each task was searched, by its id."""
    rows: Iterable[tuple[int, Mapping[str, Any]]] = read_jsonl(file)[0] if file.exists() else ()
    return {str(row.get("task_id")): str(row.get("selection") or "") for _, row in rows}

"""How many ids a row of demonstrations has, and how many are computed when prompts are computed once.

    python benchmarks/sharing.py MODEL [--families 240] [--seed 7] [--together 6]

Nothing is trained: the rows are laid out as `strop.training.shared_prefix` lays them out, in micro-batches
of `strop.training.neighbours`, padding to the longest row of a micro-batch included. Rows are families of
tasks (`strop.training.families`).
"""

from __future__ import annotations

import argparse

from strop.agent.chat import ChatTemplate
from strop.agent.models import ModelStore
from strop.training.datasets import SftRow
from strop.training.families import families
from strop.training.neighbours import GroupedOrder, groups
from strop.training.shared_prefix import pack


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("model", help="a catalogue name or a checkpoint directory")
    options.add_argument("--families", type=int, default=240)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--together", type=int, default=6, help="rows of a micro-batch")
    asked = options.parse_args()
    model = ModelStore().resolve(asked.model)
    template = ChatTemplate.load(model.path, call_format=model.call_format)
    rows = [SftRow.from_task(task, template) for task in families(asked.families, asked.seed)]
    sequences = [[*row.prompt_ids, *row.answer_ids] for row in rows]
    order = list(GroupedOrder(groups(sequences), list(map(len, sequences)), asked.seed, asked.together))
    computed = 0
    for start in range(0, len(order), asked.together):
        trees, _ = pack([sequences[row] for row in order[start : start + asked.together]])
        computed += len(trees) * max(len(tree.tokens) for tree in trees)
    ids = sum(map(len, sequences))
    print(f"{len(rows)} rows, {ids / len(rows):.0f} ids a row, {computed / len(rows):.0f} computed")


if __name__ == "__main__":
    main()

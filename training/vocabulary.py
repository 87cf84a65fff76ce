"""Tokens an adapter cannot teach: those whose output row was never trained.

A LoRA on the layers leaves the output matrix alone. Where several special tokens have one and the same row,
no training of the layers can make the model write one of them rather than another (`strop.agent.heads`); what
it learns instead is to write whatever else that row is near to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strop.agent.heads import special_rows
from strop.tools.errors import DataError, ModelError
from strop.training.datasets import SftRow


def refuse_unlearnable(model: Path, rows: Sequence[SftRow]) -> None:
    """Raises DataError where an answer has a token that cannot be learned, naming row and token.

    A checkpoint whose rows cannot be looked at passes.
    """
    try:
        untrained = {row.token.id: row.token.text for row in special_rows(model) if not row.trained}
    except (ModelError, DataError):
        return
    for row in rows:
        for token in row.answer_ids:
            if token in untrained:
                raise DataError(
                    f"row {row.id!r} teaches {untrained[token]}, whose output row was never trained and is "
                    "other tokens', too: an adapter that leaves the embeddings alone cannot learn it. Take "
                    "another call format or stop token ('strop doctor MODEL' lists what can be taught)"
                )

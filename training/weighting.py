"""How much each id of a batch of demonstrations counts."""

from __future__ import annotations

import torch

from strop.training.datasets import IGNORED


def answer_weights(labels: torch.Tensor, share: float, opening: int) -> torch.Tensor:
    """Weight of each label but the first column's, [rows, length - 1]; those of a row add up to 1.

    A row's first `opening` labelled ids have `share` of it, evenly; all of it where there are no others.
    """
    labelled = (labels[:, 1:] != IGNORED).float()
    first = labelled * (labelled.cumsum(dim=1) <= opening)
    rest = labelled - first
    many, others = first.sum(dim=1, keepdim=True), rest.sum(dim=1, keepdim=True)
    first_share = torch.where(others > 0, share, 1.0)
    return first * first_share / many.clamp_min(1) + rest * (1 - first_share) / others.clamp_min(1)


def one_label_each(labels: torch.Tensor) -> torch.Tensor:
    """Labels of the same shape of which every row has one."""
    marks = torch.full_like(labels, IGNORED)
    marks[:, -1] = 0
    return marks

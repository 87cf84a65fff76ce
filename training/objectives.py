"""Preference objectives: which loss, whether it needs a reference, and the settings each is usually run with.

With r(y) = log π(y|x) − log π_ref(y|x) summed over an answer's ids, |y| their number, p(y) the geometric mean
of their probabilities, y⁺ chosen and y⁻ rejected:

    dpo        −log σ(β·(r(y⁺) − r(y⁻)))                              arXiv 2305.18290, eq. 7
    dpo_norm   −log σ(β·(r(y⁺)/|y⁺| − r(y⁻)/|y⁻|))                    Tülu 3, arXiv 2411.15124
    ipo        (r(y⁺)/|y⁺| − r(y⁻)/|y⁻| − 1/(2β))²                    arXiv 2310.12036, eq. 17, a token (TRL)
    simpo      −log σ(β·(log p(y⁺) − log p(y⁻)) − γ)                  arXiv 2405.14734, eq. 6
    orpo       −log p(y⁺) − β·log σ(log odds p(y⁺) − log odds p(y⁻))  arXiv 2403.07691, eq. 6 and 7
    dpo_sft    dpo − w·log p(y⁺)                                      our default
    itool      simpo, with the settings of arXiv 2501.09766

In ``orpo`` and ``dpo_sft`` the term log p(y⁺) is the mean over all chosen ids of a micro-batch, as TRL has
it, so that these two depend a little on `micro_batch_size`; no other does. The constants
of ``itool`` are those of the code published with the paper: loss, β, γ, learning rate, epochs and rank. Left
open there, and ours, are the adapter's alpha (twice the rank), weight decay and the clipping of gradients.

Not covered: losses that compare a batch's pairs with each other, which depend on how it is cut altogether.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from strop.tools.errors import UsageError

COMMON: Mapping[str, Any] = {"learning_rate": 2e-5, "epochs": 1.0, "rank": 16}
"""Settings of training itself that an objective may set otherwise."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised."""

    loss: str
    """TRL's name of the loss, or without a reference one of `strop.training.reference_free.TERMS`."""
    own: Mapping[str, float]
    """What it has of ``beta``, ``gamma`` and ``sft_weight``, and the values where none are given."""
    reference: bool = True
    """Whether log-probabilities under the policy before training are part of it."""
    likelihood: float = 0.0
    """Weight of the chosen answer's negative log-likelihood a token, where it is no setting."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Where it differs from `COMMON`."""

    @property
    def defaults(self) -> dict[str, Any]:
        """Everything that a configuration takes from it."""
        return {**COMMON, **self.training, **self.own}


OBJECTIVES: Mapping[str, Objective] = {
    "dpo": Objective("sigmoid", {"beta": 0.1}),
    # A mean over ids is tens of times smaller than their sum, and beta as much larger.
    "dpo_norm": Objective("sigmoid_norm", {"beta": 5.0}),
    # The gap aimed at is 1 / (2 beta): here 1 nat an id.
    "ipo": Objective("ipo", {"beta": 0.5}),
    "simpo": Objective("simpo", {"beta": 2.0, "gamma": 1.0}, reference=False),
    "orpo": Objective("odds_ratio", {"beta": 0.1}, reference=False, likelihood=1.0),
    "dpo_sft": Objective("sigmoid", {"beta": 0.1, "sft_weight": 0.2}),
    "itool": Objective(
        "simpo",
        {"beta": 2.5, "gamma": 0.5},
        reference=False,
        training={"learning_rate": 1e-6, "epochs": 2.0, "rank": 8},
    ),
}
"""By the names that users choose them by."""


def objective(name: str) -> Objective:
    """The objective of this name. Raises UsageError where there is none."""
    if name not in OBJECTIVES:
        raise UsageError(f"objective: there is none called {name!r}; there are {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def with_setting(setting: str) -> list[str]:
    """Names of the objectives that have this setting."""
    return [name for name, one in OBJECTIVES.items() if setting in one.own]

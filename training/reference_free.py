"""Preference objectives without a reference: SimPO (arXiv 2405.14734) and ORPO (arXiv 2403.07691).

TRL's own trainers of both are experimental, tokenise text themselves and project every position to the
vocabulary. Here the forward, the likelihood term and the log are those of TRL's DPO trainer, given zeros for
a reference; added is the objective's own term. So prompts are computed once here, too.

ORPO's likelihood is the answer's alone, as its paper has it; TRL's trainer counts the prompt's ids as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from strop.training.dpo import DpoConfig
from strop.training.job import TrainJob
from strop.training.trainers import PairTrainer

SUREST = -1e-6
"""Largest mean log-probability that odds are taken of: those of certainty itself are infinite."""

Term = Callable[[torch.Tensor, torch.Tensor, DpoConfig], torch.Tensor]
"""Loss of each pair, from the mean log-probability an id of its chosen and rejected answers: all [pairs]."""


def simpo(chosen: torch.Tensor, rejected: torch.Tensor, config: DpoConfig) -> torch.Tensor:
    """SimPO's loss, equation 6: the likelihoods a token are to be `gamma / beta` apart."""
    return -logsigmoid(config.beta * (chosen - rejected) - (config.gamma or 0.0))


def odds_ratio(chosen: torch.Tensor, rejected: torch.Tensor, config: DpoConfig) -> torch.Tensor:
    """ORPO's second term, equation 7, by its weight (the paper's λ is `beta`)."""
    return -config.beta * logsigmoid(log_odds(chosen) - log_odds(rejected))


def log_odds(log_probability: torch.Tensor) -> torch.Tensor:
    """log(p / (1 − p)) of log p."""
    surely = log_probability.float().clamp(max=SUREST)
    return surely - torch.log(-torch.expm1(surely))


TERMS: dict[str, Term] = {"simpo": simpo, "odds_ratio": odds_ratio}
"""By `Objective.loss`."""


class ReferenceFreeTrainer(PairTrainer):
    """Preferences without a reference; `config` says the objective, `term` is its own part of the loss."""

    def __init__(self, *args: Any, term: Term, config: DpoConfig, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._term, self._config = term, config
        # Taken from the batch, where `_compute_loss` puts zeros.
        self.precompute_ref_logps = True

    def prepare(self, job: TrainJob, *, together: int) -> float:  # noqa: ARG002  # there is nothing to compute
        self.forget_reference()
        return 0.0

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False) -> Any:
        outputs = []

        def watched(**batch: Any) -> Any:
            outputs.append(model(**batch))
            return outputs[-1]

        answers = inputs["completion_mask"][:, 1:].sum(dim=1)
        zeros = torch.zeros(len(answers) // 2, device=answers.device)
        no_reference = {"ref_chosen_logps": zeros, "ref_rejected_logps": zeros}
        result = super()._compute_loss(watched, inputs | no_reference, return_outputs)
        chosen, rejected = (outputs[0].log_probs.sum(dim=1) / answers.clamp(min=1)).chunk(2)
        own = self._term(chosen, rejected, self._config).mean()
        self._log_rewards(chosen.detach(), rejected.detach())
        return (result[0] + own, result[1]) if return_outputs else result + own

    def _log_rewards(self, chosen: torch.Tensor, rejected: torch.Tensor) -> None:
        """Replace TRL's rewards of this batch, sums over ids, by what the objective compares: means."""
        rewards = {
            "chosen": self.beta * chosen,
            "rejected": self.beta * rejected,
            "margins": self.beta * (chosen - rejected),
            "accuracies": (chosen > rejected).float(),
        }
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, values in rewards.items():
            metrics[f"rewards/{name}"][-1] = self.accelerator.gather(values).mean().item()

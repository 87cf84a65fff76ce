"""How much refinement an answer gets: off, adaptive, or a number of rounds.

Only the setting; what refines is `strop.refine`.
"""

from __future__ import annotations

from dataclasses import dataclass

from strop.tools.errors import UsageError

MAX_ROUNDS = 16
"""Most check turns that may be asked for."""
ADAPTIVE_ROUNDS = 4
"""Most check turns of adaptive refinement. Ours: neither paper states one."""


@dataclass(frozen=True, slots=True)
class RefineSetting:
    """How much refinement an answer gets."""

    rounds: int
    """Most check turns; 0 is no refinement."""
    adaptive: bool = True
    """Whether equal drafts and cycles end it too, and a gate may skip the checks. If not, exactly `rounds`
    checks are asked unless the model stops or a budget ends."""

    def __str__(self) -> str:
        """What `parse_refine` reads back, where `rounds` is the default."""
        return "off" if not self.rounds else "adaptive" if self.adaptive else str(self.rounds)


OFF = RefineSetting(0)
ADAPTIVE = RefineSetting(ADAPTIVE_ROUNDS)


def parse_refine(text: str) -> RefineSetting:
    """Read ``off``, ``adaptive`` or a number of rounds. Raises UsageError for anything else."""
    word = text.strip().lower()
    if word in ("off", "0"):
        return OFF
    if word == "adaptive":
        return ADAPTIVE
    if word in map(str, range(1, MAX_ROUNDS + 1)):
        return RefineSetting(int(word), adaptive=False)
    raise UsageError(
        f"refine {text[:40]!r}: want 'off', 'adaptive' or a number of rounds from 1 to {MAX_ROUNDS}"
    )

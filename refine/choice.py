"""Which answerer a refinement setting asks for."""

from __future__ import annotations

from strop.agent.answer import Answerer
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.refine.check import STOP_TEXT, parse_refine
from strop.refine.refiner import Refiner


def answerer_for(policy: Policy, profile: Profile, wanted: str | int) -> Answerer:
    """The policy itself for ``off``, else a refiner around it that stops the way its model was taught to.

    `wanted` is ``off``, ``adaptive`` or a number of rounds. Raises UsageError for anything else.
    """
    setting = parse_refine(str(wanted))
    if not setting.rounds:
        return policy
    return Refiner(
        policy,
        setting,
        stop_token_id=profile.stop_token_id,
        stop_text=profile.stop_text or STOP_TEXT,
    )

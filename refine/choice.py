"""Which answerer a refinement setting asks for."""

from __future__ import annotations

from dataclasses import replace

from strop.agent.answer import Answerer
from strop.agent.policy import Policy
from strop.agent.profile import Profile
from strop.agent.refinement import RefineSetting
from strop.refine.check import STOP_TEXT
from strop.refine.refiner import Refiner, Stopping


def answerer_for(
    policy: Policy,
    profile: Profile,
    setting: RefineSetting,
    stopping: Stopping = Stopping(),  # noqa: B008  # frozen
) -> Answerer:
    """The policy itself where there is nothing to refine, else a refiner around it that stops the way its
    model was taught to; `stopping` says the rest."""
    if not setting.rounds:
        return policy
    taught = replace(stopping, token_id=profile.stop_token_id, text=profile.stop_text or STOP_TEXT)
    return Refiner(policy, setting, taught)

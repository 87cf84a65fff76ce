"""Who carries out a collection's work: jobs, and what runs them.

A job is all that one task needs, and nothing of where it is done: it can be pickled, it gets a policy when it
is run, and what it returns depends on nothing but its fields and that policy. So it may be run here, on
another machine, or again after a machine was lost, and a collection's files are the same.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from strop.agent.chat import Template
from strop.agent.loading import known_by
from strop.agent.policy import Policy
from strop.tools.task import Task

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")


class Job(Protocol[Result_co]):
    """One task's part of a stage. Job and result can be pickled."""

    @property
    def task(self) -> Task: ...

    async def run(self, policy: Policy) -> Result_co:
        """Do it. Doing it again gives an equal result where the policy's engine honours seeds."""
        ...


class Executor(Protocol):
    """Runs jobs with one policy or with many copies of it."""

    @property
    def identity(self) -> dict[str, Any]:
        """`identity_of` the policy: what a collection's settings say of it."""
        ...

    @property
    def template(self) -> Template:
        """The policy's, to make pairs with."""
        ...

    @property
    def slots(self) -> int:
        """How many jobs it has use for at once; ≥ 1."""
        ...

    async def run(self, job: Job[Result]) -> Result:
        """The job's result. Raises what the job raises, and RunError where nobody is left to run it."""
        ...


class Here:
    """The executor of one process: `slots` jobs at once over one policy."""

    def __init__(self, policy: Policy, slots: int):
        self.identity = identity_of(policy)
        self.template: Template = policy.template
        self.slots = slots
        self._policy = policy

    async def run(self, job: Job[Result]) -> Result:
        return await job.run(self._policy)


def identity_of(policy: Policy) -> dict[str, Any]:
    """What tells collections of different policies apart; JSON values."""
    model = {"model": policy.name, "engine_model": policy.engine.info.model, "adapter": policy.adapter}
    return {**model, **known_by(policy), "call_format": policy.template.call_format}

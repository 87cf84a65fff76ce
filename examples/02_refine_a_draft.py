"""Watch a model check its own draft, in process: every draft, why it stopped, what it cost.

python examples/02_refine_a_draft.py [MODEL]
"""

from __future__ import annotations

import asyncio
import sys

from strop.agent.engines.base import Sampling
from strop.agent.loading import PolicySource, load_policy
from strop.agent.refinement import ADAPTIVE
from strop.refine.choice import answerer_for
from strop.tools.spec import ToolSpec
from strop.tools.task import Task

TASK = Task(
    id="example",
    messages=({"role": "user", "content": "Book table for two at Nonna's on 2027-03-05 at 19:30."},),
    tools=(
        ToolSpec(
            "book_table",
            "Reserve a table in a restaurant.",
            {
                "type": "object",
                "required": ["restaurant", "guests", "date", "time"],
                "properties": {
                    "restaurant": {"type": "string"},
                    "guests": {"type": "integer"},
                    "date": {"type": "string", "description": "YYYY-MM-DD"},
                    "time": {"type": "string", "description": "HH:MM, 24 hours"},
                },
            },
        ),
    ),
)


async def main(model: str = "qwen2.5-coder-0.5b") -> None:
    async with load_policy(PolicySource(model)) as loaded:
        answerer = answerer_for(loaded.policy, loaded.profile, ADAPTIVE)
        answer = await answerer.answer(TASK, Sampling(max_tokens=200))
    for number, draft in enumerate(answer.drafts):
        print(f"draft {number}: {[call.to_json() for call in draft.calls] or draft.text!r}")
    print(f"stopped after {answer.rounds} checks ({answer.stop_reason}); {answer.usage}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

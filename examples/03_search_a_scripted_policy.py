"""A tree search to check by hand: the policy is a script with known probabilities, so no model is needed.

python examples/03_search_a_scripted_policy.py
"""

from __future__ import annotations

import asyncio

from strop.agent.engines.base import Sampling
from strop.agent.engines.scripted import ScriptedEngine, ScriptedTemplate
from strop.agent.policy import Policy
from strop.refine.pairs import GoldUse, candidates
from strop.refine.sample import sample_of
from strop.refine.search import SearchConfig, search
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall, ToolSpec
from strop.tools.task import Gold, Task

WEATHER = ToolSpec(
    "get_weather",
    "Current weather in a city",
    {
        "type": "object",
        "required": ["city"],
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
    },
)
RIGHT = ToolCall("get_weather", {"city": "Oslo", "unit": "c"})
WRONG = ToolCall("get_weather", {"city": "Oslo", "unit": "f"})
TASK = Task(
    id="oslo",
    messages=({"role": "user", "content": "The weather in Oslo, in celsius?"},),
    tools=(WEATHER,),
    gold=Gold((RIGHT,)),
)


async def main() -> None:
    write = FORMATS["fenced_json"].render
    engine = ScriptedEngine(lambda _: [(write([RIGHT]), 0.4), (write([WRONG]), 0.6)])
    policy = Policy(engine, ScriptedTemplate())
    drafts = await policy.sample(TASK, Sampling(n=4, temperature=1.0, seed=4, logprobs=True))
    samples = [sample_of(TASK, draft) for draft in drafts]
    tree = await search(TASK, policy, samples, SearchConfig(simulations=4), seed=1)
    for leaf in tree.leaves():
        steps = " | ".join(repr(policy.template.decode(node.ids)) for node in tree.path(leaf)[1:])
        print(f"visits {leaf.visits:2}  value {leaf.value:.2f}  {steps}")
    for pair in candidates(tree, policy.template, None, GoldUse.NEVER):
        print(f"{pair.kind}: {pair.chosen.text!r} over {pair.rejected.text!r}")


if __name__ == "__main__":
    asyncio.run(main())

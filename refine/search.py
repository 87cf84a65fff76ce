"""Monte Carlo tree search over the answers to one task.

A state is a token-id prefix of an answer. One simulation: descend from the root by PUCT to a node nothing
was sampled from yet and where the policy may still say something new, sample a few continuations from
exactly that prefix to the end of the answer, cut them at the calls' joints into nodes, judge each whole
answer, and add its reward to every node on its path. So a rollout is never thrown away: it is an answer, a
path, and a candidate for a pair.

PUCT as in AlphaZero (Silver et al. 2018): value + c_puct · P · √N / (1 + n), with the policy's own length-
normalised sequence probability as prior P (normalised over siblings) and Dirichlet noise at the root. The
engine is kept full by searching many tasks at once, and by several expansions of one tree in flight: they are
chosen one after the other, each seeing the earlier ones as visits that earned nothing (virtual loss, Chaslot
et al. 2008), and land in the order in which they were chosen, so that the tree does not depend on which was
sampled first.

Where this differs from iTool (arXiv 2501.09766): fragments end at joints of the call and not at punctuation,
prefixes are ids and never joined as text, rewards are verdicts, and every sampled answer is complete.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from strop.agent.crowd import together
from strop.agent.engines.base import Sampling
from strop.agent.policy import Policy
from strop.refine.joints import Cut, cuts, spelling
from strop.refine.reward import RewardKind, rewarded
from strop.refine.sample import DIGITS, UNKNOWN_LOGPROB, Sample
from strop.refine.simulated import judged
from strop.refine.tree import Fragment, Node, SearchTree
from strop.tools.bounds import require
from strop.tools.task import Task


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Constants of the search; neither paper fixes them, all are ours."""

    simulations: int = 2
    """Expansions of a tree, besides the samples it starts from; ≥ 0."""
    wave: int = 2
    """Expansions of one tree in flight at once; 1 decides each with all before it known. ≥ 1."""
    width: int = 3
    """Continuations sampled at an expansion; ≥ 1."""
    depth: int = 12
    """Most fragments of an answer; what is beyond is one fragment. ≥ 1."""
    temperature: float = 0.8
    """Of the continuations. At 1.0 the embedded model's rarer answers are mostly noise."""
    top_p: float = 1.0
    """Of the continuations."""
    c_puct: float = 1.0
    """Weight of prior and uncertainty against the mean value in [0, 1]."""
    root_noise: float = 0.25
    """Share of Dirichlet noise in the root's priors, in [0, 1]."""
    root_alpha: float = 0.5
    """Concentration of that noise, > 0."""
    reward: RewardKind = RewardKind.GRADED
    """What answers are worth."""
    worlds: str = ""
    """Importable module of simulated worlds; in them, calls that do the same as the gold's are right."""
    coverage: float = 0.9
    """A node is not expanded where the policy would repeat what is known with at least this probability."""
    max_tokens: int = 256
    """Most ids of a whole answer; ≥ 1."""

    def __post_init__(self) -> None:
        bounds = (
            ("simulations", self.simulations >= 0, "0 or more"),
            ("wave", self.wave >= 1, "at least 1"),
            ("width", self.width >= 1, "at least 1"),
            ("depth", self.depth >= 1, "at least 1"),
            ("temperature", self.temperature >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "in (0, 1]"),
            ("c_puct", self.c_puct >= 0, "0 or more"),
            ("root_noise", 0 <= self.root_noise <= 1, "in [0, 1]"),
            ("root_alpha", self.root_alpha > 0, "above 0"),
            ("coverage", 0 <= self.coverage <= 1, "in [0, 1]"),
            ("max_tokens", self.max_tokens >= 1, "at least 1"),
        )
        require(self, bounds)


def puct(child: Node, prior: float, parent_visits: int, c_puct: float) -> float:
    """Value plus exploration, what is in flight counted as visits that earned nothing.

    `prior` is normalised over the siblings; `parent_visits` counts what is in flight, too.
    """
    visits = child.visits + child.pending
    value = child.value_sum / visits if visits else 0.0
    return value + c_puct * prior * math.sqrt(parent_visits) / (1 + visits)


def is_expandable(tree: SearchTree, node: Node, config: SearchConfig) -> bool:
    """Whether to sample from exactly here: nobody did, there is room, and something new may come of it."""
    if node.outcome is not None or node.expanded or tree.covered(node) >= config.coverage:
        return False
    return len(tree.prefix_ids(node)) < config.max_tokens


def is_open(tree: SearchTree, node: Node, config: SearchConfig) -> bool:
    """Whether there is anything expandable at or below `node`."""
    return is_expandable(tree, node, config) or any(is_open(tree, c, config) for c in tree.children(node))


def choose(tree: SearchTree, config: SearchConfig, rng: random.Random) -> Node | None:
    """The node to expand next, or None where sampling would find nothing new.

    Draws from `rng` once for each child of the root, and nothing else.
    """
    node, noise = tree.root, config.root_noise
    while not is_expandable(tree, node, config):
        children = tree.children(node)
        priors = _priors(children, config.root_alpha, noise, rng)
        ranked = [
            (puct(child, prior, node.visits + node.pending, config.c_puct), -child.index, child)
            for child, prior in zip(children, priors, strict=True)
            if is_open(tree, child, config)
        ]
        if not ranked:
            return None
        node, noise = max(ranked, key=lambda entry: entry[:2])[2], 0.0
    return node


def claim_wave(tree: SearchTree, config: SearchConfig, rng: random.Random) -> list[tuple[Node, int]]:
    """Up to `config.wave` nodes to expand at once, each claimed, with a seed for its samples."""
    wave: list[tuple[Node, int]] = []
    while len(wave) < config.wave and (node := choose(tree, config, rng)) is not None:
        tree.claim(node, config.width)
        wave.append((node, rng.getrandbits(31)))
    return wave


def _priors(children: Sequence[Node], alpha: float, noise: float, rng: random.Random) -> list[float]:
    """Siblings' priors, normalised, mixed with a share of Dirichlet noise."""
    total = sum(child.prior for child in children)
    priors = [child.prior / total for child in children]
    if not noise:
        return priors
    draws = [rng.gammavariate(alpha, 1.0) for _ in children]
    mass = sum(draws) or 1.0
    return [(1 - noise) * prior + noise * draw / mass for prior, draw in zip(priors, draws, strict=True)]


def fragments(sample: Sample, places: Sequence[Cut], start: int) -> list[Fragment]:
    """The sample's fragments after its first `start` ids, which is one of the cuts (or 0)."""
    found: list[Fragment] = []
    for cut in places:
        if cut.end <= start:
            continue
        logprob = round(sum(sample.logprobs[start : cut.end]), DIGITS)
        found.append(Fragment(sample.ids[start : cut.end], cut.joint, logprob))
        start = cut.end
    return found


def grow(
    tree: SearchTree, node: Node, samples: Sequence[Sample], cut: Callable[[Sequence[int]], Sequence[Cut]]
) -> None:
    """Add whole answers that begin with `node`'s prefix, back each of them up, and mark `node` expanded."""
    start = len(tree.prefix_ids(node))
    for sample in samples:
        leaf = tree.graft(node, fragments(sample, cut(sample.ids), start), sample.outcome)
        tree.backup(leaf)
        tree.generated_tokens += len(sample.ids) - start
    node.expanded = True


async def search(
    task: Task, policy: Policy, samples: Sequence[Sample], config: SearchConfig, *, seed: int
) -> SearchTree:
    """Search one task. `samples` are answers drawn beforehand from the whole prompt, and judged: the root's
    expansion.

    With an engine that honours seeds the tree depends on nothing but the arguments. Raises EngineError.
    """
    prompt_ids = policy.prompt_ids(task)
    tree = SearchTree.rooted(task.id, task.category, prompt_ids)
    rng = random.Random(f"{seed}/{task.id}".encode(errors="surrogatepass"))
    limit = policy.fitted(prompt_ids, Sampling(max_tokens=config.max_tokens)).max_tokens
    config = replace(config, max_tokens=limit)

    def cut(ids: Sequence[int]) -> Sequence[Cut]:
        return cuts(ids, spelling(policy.template), policy.template.call_format, depth=config.depth)

    grow(tree, tree.root, await rewarded(task, policy, samples, config.reward), cut)
    left = config.simulations
    while left and (wave := claim_wave(tree, replace(config, wave=min(left, config.wave)), rng)):
        left -= len(wave)
        landed = await together(
            _continuations(task, policy, tree, node, config, seed=draw) for node, draw in wave
        )
        for (node, _), found in zip(wave, landed, strict=True):
            tree.release(node, config.width)
            grow(tree, node, found, cut)
    return tree


async def _continuations(
    task: Task, policy: Policy, tree: SearchTree, node: Node, config: SearchConfig, *, seed: int
) -> list[Sample]:
    """Sample from a node's prefix to the end; each sample is the whole answer, prefix included."""
    prefix = tree.prefix_ids(node)
    known = tuple(value for step in tree.path(node) for value in _spread(step))
    sampling = Sampling(
        max_tokens=config.max_tokens - len(prefix),
        temperature=config.temperature,
        top_p=config.top_p,
        n=config.width,
        seed=seed,
        logprobs=True,
    )
    completions = await policy.complete((*tree.prompt_ids, *prefix), sampling)
    whole = [
        replace(
            done,
            token_ids=prefix + done.token_ids,
            logprobs=known + (done.logprobs or (UNKNOWN_LOGPROB,) * len(done.token_ids)),
        )
        for done in completions
    ]
    drafts = [policy.draft_of(tree.prompt_ids, done, task.tools) for done in whole]
    return await rewarded(task, policy, await judged(task, drafts, config.worlds), config.reward)


def _spread(node: Node) -> tuple[float, ...]:
    """A fragment's log-probability, evenly over its ids; only its sum is ever used again."""
    return tuple(node.logprob / len(node.ids) for _ in node.ids)

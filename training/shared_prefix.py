"""Compute what sequences share once: the prompt of chosen and rejected, of all answers to one prompt.

Preference training sends every prompt through the model twice, and stock trainers project every position to
the vocabulary. Here the sequences of a batch become token trees, each laid out as one row: a token attends to
its ancestors only, its position is its depth, and logits are computed where a label is. Log-probabilities are
scattered back to the places where the trainer looks for them, so that the very same trainer code computes the
very same loss and gradients:

    rows     p q r | a b          packed   p q r a b c          mask      p q r a b c    depth  0 1 2 3 4 3
             p q r | c                                          for c:    x x x . . x

`pack` is pure. `SharedPrefix` puts it between TRL's trainers and a model whose forward carries TRL's fused
language-model head (`add_fused_lm_head`): it answers the same call with the same fields.

Related: prefix grouping for GRPO (arXiv 2506.05433), tree attention masks (SpecInfer, arXiv 2305.09781).
Not covered: left padding, sliding windows, attention kernels without a custom mask, mixtures of experts with
an auxiliary loss; there the stock forward runs, and `SharedPrefix.reason` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from strop.training.datasets import IGNORED
from strop.training.neighbours import LEAST_SHARE
from strop.training.progress import say
from strop.training.recipe import Recipe
from strop.training.sharding import still_whole

_APART = 120
"""Ids that the branches of the trial batch are set apart by, as far as the model takes that many."""


@dataclass(slots=True)
class Tree:
    """Sequences laid out as one row of tokens; built by `pack`."""

    tokens: list[int] = field(default_factory=list)
    """Token of each node; a node comes after its parent."""
    depths: list[int] = field(default_factory=list)
    """Position of each node in its sequences, from 0."""
    paths: list[list[int]] = field(default_factory=list)
    """Nodes of each sequence, from its first token to its last."""
    children: list[dict[int, int]] = field(default_factory=list)
    """Nodes after each node, by token."""

    @property
    def is_chain(self) -> bool:
        """Whether no node branches, so that an ordinary causal mask does."""
        return all(len(after) < 2 for after in self.children)

    def shared(self, sequence: Sequence[int]) -> int:
        """Leading tokens of `sequence` that are in the tree already."""
        return len(self._walk(sequence))

    def add(self, sequence: Sequence[int]) -> list[int]:
        """Put a sequence into the tree; returns its nodes."""
        path = self._walk(sequence)
        for token in sequence[len(path) :]:
            node = len(self.tokens)
            if path:
                self.children[path[-1]][token] = node
            self.tokens.append(token)
            self.depths.append(len(path))
            self.children.append({})
            path.append(node)
        self.paths.append(path)
        return path

    def _walk(self, sequence: Sequence[int]) -> list[int]:
        if not self.tokens or not sequence or sequence[0] != self.tokens[0]:
            return []
        path = [0]
        for token in sequence[1:]:
            node = self.children[path[-1]].get(token)
            if node is None:
                break
            path.append(node)
        return path


def pack(sequences: Sequence[Sequence[int]]) -> tuple[list[Tree], list[tuple[int, list[int]]]]:
    """Token trees of some sequences, and for each sequence its tree's number and its nodes there.

    A sequence joins the first tree that already holds `LEAST_SHARE` of it, so that every tree has one root.
    """
    trees: list[Tree] = []
    places: list[tuple[int, list[int]]] = []
    for sequence in sequences:
        enough = LEAST_SHARE * len(sequence)
        number = next(
            (n for n, tree in enumerate(trees) if tree.shared(sequence) >= max(1, enough)), len(trees)
        )
        if number == len(trees):
            trees.append(Tree())
        places.append((number, trees[number].add(sequence)))
    return trees, places


def ancestor_mask(tree: Tree, width: int) -> torch.Tensor:
    """Who sees whom: bool [width, width], true where the column is the row's node itself or before it.

    Columns and rows past the tree's end are padding, which sees only itself, so that no softmax is empty.
    """
    mask = torch.eye(width, dtype=torch.bool)
    done = 0
    for path in tree.paths:
        new = len(path) - sum(node < done for node in path)
        if new:
            known, start = path[: len(path) - new], done
            done = start + new
            mask[start:done, known] = True
            mask[start:done, start:done] = torch.ones(new, new, dtype=torch.bool).tril()
    return mask


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as the model computes it, and the way back."""

    inputs: dict[str, torch.Tensor]
    """input_ids and position_ids [trees, width], and attention_mask, 2-D or 4-D."""
    sources: tuple[torch.Tensor, torch.Tensor]
    """Tree and node whose hidden state predicts each distinct label, [labels] each."""
    labels: torch.Tensor
    """Distinct labelled tokens, [1, labels]."""
    places: tuple[torch.Tensor, torch.Tensor]
    """Row and column of [batch, length − 1] where a value belongs, [positions] each."""
    values: torch.Tensor
    """Which of the distinct labels' values belongs there, [positions]."""

    def scatter(self, values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Values of the distinct labels, [1, labels], laid out as the trainer expects them; 0 elsewhere."""
        return values.new_zeros(shape).index_put(self.places, values[0, self.values])


def pack_batch(
    rows: Sequence[Sequence[int]], labelled: Sequence[Sequence[bool]], *, additive: bool
) -> Packed:
    """Lay out a batch. `labelled[i][j]`: whether token j of row i has a label; the first token never counts.

    `additive`: the mask as floats to be added to the scores, which eager attention wants, instead of bools.
    """
    trees, places = pack(rows)
    distinct: dict[tuple[int, int], int] = {}
    sources: list[tuple[int, int]] = []
    labels: list[int] = []
    back: list[tuple[int, int, int]] = []
    for row, (tree, path) in enumerate(places):
        for column in range(1, len(path)):
            if not labelled[row][column]:
                continue
            value = distinct.setdefault((tree, path[column]), len(labels))
            if value == len(labels):
                sources.append((tree, path[column - 1]))
                labels.append(rows[row][column])
            back.append((row, column - 1, value))
    tree_of, node_of = torch.tensor(sources, dtype=torch.long).reshape(-1, 2).unbind(1)
    row_of, column_of, values = torch.tensor(back, dtype=torch.long).reshape(-1, 3).unbind(1)
    return Packed(
        inputs=_model_inputs(trees, additive=additive),
        sources=(tree_of, node_of),
        labels=torch.tensor([labels], dtype=torch.long),
        places=(row_of, column_of),
        values=values,
    )


def _model_inputs(trees: Sequence[Tree], *, additive: bool) -> dict[str, torch.Tensor]:
    width = max(len(tree.tokens) for tree in trees)
    padding = [[0] * (width - len(tree.tokens)) for tree in trees]
    if all(tree.is_chain for tree in trees):
        ones = ([1] * len(tree.tokens) + pad for tree, pad in zip(trees, padding, strict=True))
        mask = torch.tensor(list(ones))
    else:
        mask = torch.stack([ancestor_mask(tree, width) for tree in trees])[:, None]
        if additive:
            mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    return {
        "input_ids": torch.tensor([tree.tokens + pad for tree, pad in zip(trees, padding, strict=True)]),
        "position_ids": torch.tensor([tree.depths + pad for tree, pad in zip(trees, padding, strict=True)]),
        "attention_mask": mask,
    }


class SharedPrefix:
    """Stands before a causal model's fused head and answers its calls by way of `pack_batch`.

    `install` replaces the forward of one model instance; calls without ``fused_lm_head=True`` pass through.
    """

    def __init__(self, model: Any):
        self.reason = why_not(model)
        """Why the stock forward runs instead; None where sharing is on."""
        self._model = model
        self._stock = model.forward
        self._selection: tuple[torch.Tensor, torch.Tensor] | None = None
        self._additive = model.config._attn_implementation == "eager"

    def install(self) -> str | None:
        """Turn sharing on after one tiny batch has shown, on this model, that it changes nothing.

        Returns `reason`: None, or why it stays off.
        """
        if self.reason is None:
            self._hook = self._model.base_model.register_forward_hook(self._select)
            self.reason = self._differs()
            if self.reason is None:
                self._model.forward = self._forward
            else:
                self._hook.remove()
        return self.reason

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        known = {"input_ids", "attention_mask", "labels", "use_cache", "fused_lm_head"}
        given = {name for name, value in kwargs.items() if value is not None}
        shareable = kwargs.get("fused_lm_head") and kwargs.get("labels") is not None and not args
        if not shareable or given - known - {"num_items_in_batch"}:
            return self._stock(*args, **kwargs)
        return self._shared(**kwargs)

    def _shared(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        num_items_in_batch: Any = None,
        **rest: Any,
    ) -> Any:
        labelled = labels != IGNORED
        lengths = _lengths(input_ids, attention_mask, labelled)
        own = bool((labels == input_ids)[labelled].all())
        if lengths is None or not own or not bool(labelled[:, 1:].any()):
            rest["num_items_in_batch"] = num_items_in_batch
            return self._stock(input_ids=input_ids, labels=labels, attention_mask=attention_mask, **rest)
        rows = [row[:length] for row, length in zip(input_ids.tolist(), lengths, strict=True)]
        packed = pack_batch(rows, labelled.tolist(), additive=self._additive)
        device = input_ids.device
        self._selection = packed.sources
        try:
            inputs = {name: value.to(device) for name, value in packed.inputs.items()}
            output = self._stock(**inputs, shift_labels=packed.labels.to(device), **rest)
        finally:
            self._selection = None
        shape = (input_ids.shape[0], input_ids.shape[1] - 1)
        for name, value in list(output.items()):
            if isinstance(value, torch.Tensor) and value.shape == packed.labels.shape:
                output[name] = packed.scatter(value, shape)
        count = output.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        output["loss"] = -output.log_probs.sum() / count
        return output

    def _select(self, _module: Any, _inputs: Any, output: Any) -> Any:
        """Forward hook of the backbone: of all hidden states, hand on only those that predict a label."""
        if self._selection is not None:
            tree, node = self._selection
            output.last_hidden_state = output.last_hidden_state[tree, node][None]
        return output

    def _differs(self) -> str | None:
        """Compare both ways on one small batch, of which a long branch sets two short ones apart.

        Where attention goes by places in the row, not by depth, those two come out different; the first
        branch would come out the same on any model.
        """
        device, config = self._model.device, self._model.config.get_text_config()
        apart = max(1, min(_APART, (getattr(config, "max_position_embeddings", None) or _APART) - 8))
        branches = [[5, 6, 7, 8, 9, *range(10, 10 + apart)], [5, 6, 7, 8, 9, 11, 12], [5, 6, 7, 8, 13]]
        width = max(map(len, branches))
        rows = torch.tensor([branch + [0] * (width - len(branch)) for branch in branches])
        lengths = torch.tensor([[len(branch)] for branch in branches])
        mask = (torch.arange(width) < lengths).long().to(device)
        rows = rows.to(device) % config.vocab_size
        labels = rows.masked_fill((mask == 0) | (torch.arange(rows.shape[1], device=device) < 3), IGNORED)
        call = {"input_ids": rows, "attention_mask": mask, "labels": labels, "fused_lm_head": True}
        training = self._model.training
        self._model.eval()
        try:
            with torch.no_grad():
                stock, shared = self._stock(**call).log_probs, self._shared(**call).log_probs
        except (RuntimeError, ValueError, TypeError) as error:
            return f"this model refuses a tree mask: {str(error).splitlines()[0]}"
        finally:
            self._model.train(training)
        allowed = 1e-3 if stock.dtype == torch.float32 and self._model.dtype == torch.float32 else 0.2
        difference = float((stock.float() - shared.float())[1:].abs().max())
        if difference <= allowed:
            return None
        return f"log-probabilities came out {difference:.2g} apart on this model"


def share_prefixes(trainer: Any, recipe: Recipe) -> str:
    """Put `SharedPrefix` before the trainer's model; says ``on`` or why not."""
    if not recipe.shared_prefix:
        return "off: not asked for"
    with still_whole(trainer):
        reason = SharedPrefix(trainer.model.get_base_model()).install()
    if reason is None:
        return "on"
    say(f"[yellow]every sequence is computed by itself, which is several times slower:[/] {reason}")
    return f"off: {reason}"


def why_not(model: Any) -> str | None:
    """What about a causal model rules sharing out, as far as its configuration tells; None: nothing does."""
    config = model.config.get_text_config()
    attention = model.config._attn_implementation
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if attention not in ("sdpa", "eager"):
        return f"attention {attention!r} takes no custom mask"
    if kinds:
        return f"the model has {', '.join(sorted(kinds))} layers"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "the model attends through a sliding window"
    if "local" in (getattr(config, "attention_layers", None) or ()):  # GPT-Neo's
        return "some layers attend through a window"
    if any(getattr(one, "alibi", False) for one in (config, getattr(config, "attn_config", None))):
        return "the model tells places by how far apart they are in the row (ALiBi)"
    if getattr(config, "output_router_logits", False):
        return "an auxiliary loss counts every token of a mixture of experts"
    return None


def _lengths(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, labelled: torch.Tensor
) -> list[int] | None:
    """Tokens of each row before its padding; None where padding is not at the end, or has labels."""
    if attention_mask is None:
        return [input_ids.shape[1]] * input_ids.shape[0]
    lengths = attention_mask.sum(dim=1)
    inside = torch.arange(input_ids.shape[1], device=input_ids.device) < lengths[:, None]
    usual = bool((inside == attention_mask.bool()).all()) and not bool((labelled & ~inside).any())
    return [int(length) for length in lengths] if usual else None

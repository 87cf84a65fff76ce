"""Structures enforced through XGrammar, for engines that do not bring it themselves."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from strop.tools.errors import UsageError


def can_constrain() -> bool:
    """Whether XGrammar is installed (it comes with ``strop[transformers]`` and with vLLM)."""
    return importlib.util.find_spec("xgrammar") is not None


class Grammars:
    """Compiled structures over one vocabulary; the library keeps those it has compiled."""

    def __init__(self, info: Any):
        """`info` is an ``xgrammar.TokenizerInfo``."""
        import xgrammar

        self._info = info
        self._compiler = xgrammar.GrammarCompiler(info)

    @classmethod
    def of_tokenizer(cls, tokenizer: Any, vocabulary: int, end_ids: Sequence[int]) -> Grammars:
        """For a transformers tokenizer whose model has logits for `vocabulary` ids."""
        import xgrammar

        return cls(
            xgrammar.TokenizerInfo.from_huggingface(
                tokenizer, vocab_size=vocabulary, stop_token_ids=list(end_ids)
            )
        )

    @classmethod
    def of_bytes(cls, end_id: int) -> Grammars:
        """For a vocabulary of the 256 bytes and one id that ends."""
        import xgrammar

        vocabulary = [bytes([value]) for value in range(end_id)] + [b""]
        return cls(xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[end_id]))

    def matcher(self, structure: str) -> Matcher:
        """Raises UsageError where XGrammar cannot read the structure."""
        import xgrammar

        try:
            compiled = self._compiler.compile_structural_tag(structure)
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise UsageError(f"this structure cannot be enforced: {reason}") from error
        return Matcher(xgrammar.GrammarMatcher(compiled), self._info.vocab_size)


class Matcher:
    """One sample on its way through a structure."""

    def __init__(self, matcher: Any, vocabulary: int):
        self._matcher = matcher
        self._vocabulary = vocabulary

    def mask(self, logits: Any) -> Any:
        """A copy of (vocabulary,) `logits` in which whatever may not follow is minus infinity."""
        import xgrammar

        bits = xgrammar.allocate_token_bitmask(1, self._vocabulary)
        masked = logits.clone()
        if self._matcher.fill_next_token_bitmask(bits):
            xgrammar.apply_token_bitmask_inplace(masked[None], bits.to(masked.device))
        return masked

    def accept(self, index: int) -> None:
        """Note that `index` was drawn."""
        if not self._matcher.is_terminated():
            self._matcher.accept_token(index)

    def accepts(self, text: bytes) -> bool:
        """Whether `text` as it stands is a whole answer; for a fresh matcher only."""
        return bool(self._matcher.accept_string(text)) and bool(self._matcher.is_completed())

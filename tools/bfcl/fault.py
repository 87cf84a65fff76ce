"""What is wrong with an answer, in the official checker's terms and in Strop's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strop.tools.verdict import ErrorKind, Verdict


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing the checker finds wrong."""

    error_type: str
    """The official name of what is wrong, such as ``value_error:string``."""
    subject: str
    """The function, argument or dictionary key it is about; for several calls the gold call's index; for a
    trajectory the simulator or the turn."""
    detail: str
    """One sentence for a person."""
    candidates: tuple[Fault, ...] = ()
    """Where no call fits a gold call: why each of those still unmatched does not, in order."""

    def kind(self, too_few: bool = False) -> ErrorKind:
        """In Strop's words; `too_few` says that fewer calls were made than wanted."""
        if self.candidates:
            # The candidate that got furthest through the checks says what was nearly right.
            order = list(ErrorKind)
            return max((candidate.kind(too_few) for candidate in self.candidates), key=order.index)
        if self.error_type.endswith(":wrong_count"):
            return ErrorKind.MISSING_CALL if too_few else ErrorKind.EXTRA_CALL
        if self.error_type.startswith("type_error:"):
            return ErrorKind.WRONG_TYPE
        return _KINDS.get(self.error_type, ErrorKind.WRONG_VALUE)

    def verdict(self, too_few: bool = False) -> Verdict:
        """With the official error type at the end of the detail."""
        return Verdict.wrong(self.kind(too_few), f"{self.detail} [{self.error_type}]")


_KINDS: Mapping[str, ErrorKind] = {
    "irrelevance_error:decoder_success": ErrorKind.SHOULD_NOT_CALL,
    "relevance_error:decoder_failed": ErrorKind.MISSING_CALL,
    "ast_decoder:decoder_failed": ErrorKind.MISSING_CALL,
    "simple_function_checker:wrong_func_name": ErrorKind.WRONG_NAME,
    "simple_function_checker:missing_required": ErrorKind.MISSING_ARGUMENT,
    "simple_function_checker:missing_optional": ErrorKind.MISSING_ARGUMENT,
    "simple_function_checker:unexpected_param": ErrorKind.UNEXPECTED_ARGUMENT,
    "agentic:inference_error": ErrorKind.UNFINISHED,
    "agentic:no_last_message": ErrorKind.UNFINISHED,
    "agentic:answer_not_found": ErrorKind.WRONG_ANSWER,
    "multi_turn:force_terminated": ErrorKind.UNFINISHED,
    "multi_turn:empty_turn_model_response": ErrorKind.MISSING_CALL,
    "multi_turn:instance_state_mismatch": ErrorKind.WRONG_STATE,
    "multi_turn:execution_response_mismatch": ErrorKind.MISSING_RESULT,
}

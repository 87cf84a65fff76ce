"""Is a model fit to be served and trained: template, call format, end of turn, stop token, special tokens.

Everything is read from the checkpoint's files; no forward pass is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strop.agent.chat import ChatTemplate
from strop.agent.checkpoint import missing_parts
from strop.agent.findings import Finding, Level
from strop.agent.heads import APART, AddedToken, SpecialRow, added_tokens, special_rows
from strop.agent.profile import Profile
from strop.tools.errors import DataError, ModelError
from strop.tools.files import read_json
from strop.tools.formats import FORMATS
from strop.tools.spec import ToolCall

_EMBEDDING_REMEDY = (
    "Do not train towards these tokens with an adapter that leaves the embeddings alone: it cannot teach "
    "them. "
    "Choose another form, or train embed_tokens and lm_head too."
)


@dataclass(frozen=True, slots=True)
class StopCandidate:
    """A special token that can be taught as a stop token."""

    id: int
    text: str
    nearness: float
    """Largest cosine of its output row with an untrained one, in [-1, `APART`)."""


def audit_model(path: Path, profile: Profile | None = None) -> list[Finding]:
    """Audit the checkpoint directory `path`; `profile` is what is known of how the model talks.

    Needs transformers and torch; where something cannot be read, that is a finding, not an error.
    """
    known = profile or Profile()
    missing = missing_parts(path)
    if missing:
        return [Finding("checkpoint", Level.FAIL, f"{path} lacks {', '.join(missing)}.", "Fetch it again.")]
    findings = [_weights(path)]
    try:
        template = ChatTemplate.load(path)
    except ImportError as error:
        return [*findings, _not_installed(error)]
    except ModelError as error:
        remedy = "Take an instruction-tuned checkpoint."
        return [*findings, Finding("chat template", Level.FAIL, f"{error}.", remedy)]
    try:
        rows = special_rows(path)
    except (ModelError, DataError) as error:
        rows = ()
        findings.append(Finding("special tokens", Level.WARN, f"Their rows cannot be looked at: {error}."))
    findings += [
        _shows_tools(template),
        _call_format(template, known, rows),
        _end_of_turn(path, template, rows),
    ]
    if rows:
        findings += [_special_tokens(rows), _stop_token(path, known, rows)]
    return findings


def trained_stop_candidates(path: Path) -> tuple[StopCandidate, ...]:
    """Special tokens a LoRA can teach the checkpoint `path` to stop refinement with, most distinct first.

    Their output rows were clearly trained, and they have no other duty: they end, pad or begin nothing and do
    not occur in the chat template. Raises ModelError where rows, tokenizer or template cannot be read.
    """
    return _candidates(path, special_rows(path))


def _candidates(path: Path, rows: Sequence[SpecialRow]) -> tuple[StopCandidate, ...]:
    busy_ids, template = _busy_ids(path), _template_text(path)
    free = [
        row
        for row in rows
        if row.trained
        and row.nearness < APART
        and row.token.special
        and row.token.id not in busy_ids
        and row.token.text not in template
    ]
    return tuple(
        StopCandidate(row.token.id, row.token.text, row.nearness)
        for row in sorted(free, key=lambda row: (row.nearness, row.token.id))
    )


def _busy_ids(path: Path) -> set[int]:
    """Ids that begin, end, pad or stand for the unknown, by the configuration files and the tokenizer's."""
    busy: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        config = _optional_json(path / name)
        for key in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
            busy.update(_as_ids(config.get(key)))
    named = _optional_json(path / "tokenizer_config.json")
    texts = {named.get(f"{key}_token") for key in ("bos", "eos", "pad", "unk")}
    busy.update(token.id for token in added_tokens(path) if token.text in texts)
    return busy


def _template_text(path: Path) -> str:
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    return str(_optional_json(path / "tokenizer_config.json").get("chat_template") or "")


def _optional_json(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def _as_ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, int)]


def _weights(path: Path) -> Finding:
    config = _optional_json(path / "config.json")
    kind = (config.get("architectures") or ["unknown architecture"])[0]
    size = sum(file.stat().st_size for file in path.glob("*.safetensors")) / 2**30
    dtype = config.get("dtype") or config.get("torch_dtype") or "unknown number format"
    return Finding("checkpoint", Level.OK, f"{kind}, {dtype}, {size:.1f} GiB of weights.")


def _not_installed(error: ImportError) -> Finding:
    remedy = "pip install 'strop[transformers]'"
    return Finding("chat template", Level.FAIL, f"The tokenizer cannot be read: {error}.", remedy)


def _shows_tools(template: ChatTemplate) -> Finding:
    if template.shows_tools:
        return Finding("chat template", Level.OK, "Present, and shows the tools to the model.")
    return Finding(
        "chat template",
        Level.WARN,
        "Present, but does not show tools; Strop writes them into the system message.",
        "Expect little of this model untrained: it may never have seen a tool.",
    )


def _call_format(template: ChatTemplate, profile: Profile, rows: Sequence[SpecialRow]) -> Finding:
    """What the template asks for against what the model is known to write, and whether it can write that."""
    asked = template.call_format
    written = profile.call_format or asked
    if written not in FORMATS:
        remedy = f"Known are {', '.join(FORMATS)}: correct strop.json beside the model."
        return Finding("call format", Level.FAIL, f"The profile names an unknown format {written!r}.", remedy)
    untrained = [row.token.text for row in rows if not row.trained and row.token.text in _sample(written)]
    if untrained:
        sentence = f"Calls are written as {written}, with tokens that were never trained: {_list(untrained)}."
        return Finding("call format", Level.FAIL, sentence, _EMBEDDING_REMEDY)
    if profile.call_format is None:
        sentence = f"The template asks for {asked}; what the model really writes is not known."
        remedy = 'Benchmark it, and note the form in strop.json beside it: {"call_format": "…"}.'
        return Finding("call format", Level.WARN, sentence, remedy)
    if written != asked:
        sentence = f"The template asks for {asked}, the model writes {written}; Strop reads what it writes."
        remedy = "A server that reads only the template's form will find no calls in its answers."
        return Finding("call format", Level.WARN, sentence, remedy)
    asker = "the template" if template.shows_tools else "Strop's system message"
    return Finding("call format", Level.OK, f"{written}, as {asker} asks.")


def _sample(call_format: str) -> str:
    return FORMATS[call_format].render([ToolCall("name", {"argument": "value"})])


def _end_of_turn(path: Path, template: ChatTemplate, rows: Sequence[SpecialRow]) -> Finding:
    end = template.end_ids[0]
    text = template.decode([end], skip_special=False)
    row = next((row for row in rows if row.token.id == end), None)
    if row is not None and not row.trained:
        return Finding("end of turn", Level.FAIL, f"{text} ({end}) was never trained.", _EMBEDDING_REMEDY)
    if end not in _as_ids(_optional_json(path / "generation_config.json").get("eos_token_id")):
        sentence = f"{text} ({end}) ends a turn, but generation_config.json does not say so."
        remedy = "Strop stops there all the same; other servers may run on. Add it to eos_token_id."
        return Finding("end of turn", Level.WARN, sentence, remedy)
    return Finding("end of turn", Level.OK, f"{text} ({end}), also in generation_config.json.")


def _special_tokens(rows: Sequence[SpecialRow]) -> Finding:
    untrained = [row.token.text for row in rows if not row.trained]
    trained = [row.token.text for row in rows if row.trained]
    if not untrained:
        return Finding("special tokens", Level.OK, f"All {len(rows)} have output rows of their own.")
    sentence = (
        f"{len(untrained)} of {len(rows)} were never trained (other tokens have the very same output row): "
        f"{_list(untrained)}. Trained: {_list(trained)}."
    )
    return Finding("special tokens", Level.WARN, sentence, _EMBEDDING_REMEDY)


def _stop_token(path: Path, profile: Profile, rows: Sequence[SpecialRow]) -> Finding:
    candidates = _candidates(path, rows)
    names = _list([f"{one.text} ({one.id})" for one in candidates])
    chosen = next((row for row in rows if row.token.id == profile.stop_token_id), None)
    if profile.stop_token_id is None:
        text = f"the text {profile.stop_text!r}" if profile.stop_text else "a text"
        if candidates:
            return Finding(
                "stop token", Level.OK, f"None trained yet, {text} stands in; can be taught: {names}."
            )
        return Finding(
            "stop token", Level.WARN, f"None trained, and no special token can be; {text} stands in."
        )
    if chosen is None:
        sentence = f"The profile's stop token {profile.stop_token_id} is no added token of this tokenizer."
        return Finding("stop token", Level.FAIL, sentence, f"Choose one of {names or 'another model'}.")
    if not chosen.trained:
        sentence = f"The output row of {_named(chosen.token)} was never trained: the model cannot write it."
        return Finding("stop token", Level.FAIL, sentence, f"Choose one of {names or 'another model'}.")
    return Finding("stop token", Level.OK, f"{_named(chosen.token)}, and its output row was trained.")


def _named(token: AddedToken) -> str:
    return f"{token.text} ({token.id})"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:24])
    return shown if len(names) <= 24 else f"{shown} and {len(names) - 24} more"

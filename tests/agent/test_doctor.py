"""The doctor sees crashing imports, untrained rows, and what template and profile disagree about."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from strop.agent.cli.doctor import table_of
from strop.agent.doctor import (
    Finding,
    Level,
    Library,
    arithmetic,
    audit_model,
    check_imports,
    check_machine,
    trained_stop_candidates,
)
from strop.agent.heads import special_rows
from strop.agent.models import ModelStore
from strop.agent.profile import Profile
from strop.tools.errors import ModelError

TOKENS = ("<pad>", "<end>", "<call>", "</call>", "<free>", "<tool_call>", "</tool_call>")
"""Added tokens of the tests' checkpoint; they follow `WORDS` ordinary ones."""
WORDS = 8
TEMPLATE = (
    "{% if tools %}Tools: {{ tools | tojson }}. Call within <tool_call></tool_call>:\n"
    "<tool_call>\n{\"name\": 1, \"arguments\": 2}\n</tool_call>\n{% endif %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)  # fmt: skip


def rows_of(groups: list[int], hidden: int = 32) -> Any:
    """One row for every entry: rows with the same number are the same vector, others are orthogonal."""
    import torch

    return torch.stack([torch.eye(hidden)[group] * (1 + group) for group in groups])


def checkpoint(
    directory: Path,
    groups: list[int],
    *,
    tokens: tuple[str, ...] = TOKENS,
    tied: bool = False,
    shards: bool = False,
    template: str = TEMPLATE,
    eos: str = "<end>",
) -> Path:
    """A checkpoint without layers, whose added tokens have the output rows `rows_of(groups)`."""
    import torch
    from safetensors.torch import save_file

    head = torch.cat([rows_of([*range(20, 20 + WORDS)]), rows_of(groups)]).bfloat16()
    other = torch.ones_like(head)
    tensors = {
        "model.embed_tokens.weight": head if tied else other,
        "lm_head.weight": other if tied else head,
    }
    if tied:
        del tensors["lm_head.weight"]
    if shards:
        for name, tensor in tensors.items():
            save_file({name: tensor}, directory / f"{name}.safetensors")
        index = {"weight_map": {name: f"{name}.safetensors" for name in tensors}}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(tensors, directory / "model.safetensors")
    config = {
        "architectures": ["Tiny"],
        "dtype": "bfloat16",
        "model_type": "qwen2",
        "tie_word_embeddings": tied,
    }
    (directory / "config.json").write_text(json.dumps(config))
    end = WORDS + tokens.index(eos) if eos in tokens else None
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    write_tokenizer(directory, tokens, template)
    return directory


def write_tokenizer(directory: Path, tokens: tuple[str, ...], template: str) -> None:
    """A word-level tokenizer with added tokens; tool-call tags are not special, as in real ones."""
    words = {f"w{number}": number for number in range(WORDS)}
    added = [
        {"id": WORDS + i, "content": text, "special": "tool" not in text, "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
        for i, text in enumerate(tokens)
    ]  # fmt: skip
    model = {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    whole: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": added,
        "model": model,
        "pre_tokenizer": {"type": "Whitespace"},
    }
    whole |= {
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "post_processor": None,
        "decoder": None,
    }
    (directory / "tokenizer.json").write_text(json.dumps(whole))
    settings_ = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "pad_token": "<pad>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings_))
    (directory / "chat_template.jinja").write_text(template)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    assert len({one.name for one in findings}) == len(findings)
    return {one.name: one for one in findings}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=len(TOKENS), max_size=len(TOKENS)), st.booleans(), st.booleans())
def test_rows_are_untrained_exactly_where_another_is_the_same(
    groups: list[int], tied: bool, shards: bool
) -> None:
    with TemporaryDirectory() as directory:
        rows = special_rows(checkpoint(Path(directory), groups, tied=tied, shards=shards))
    assert [row.token.text for row in rows] == list(TOKENS)
    for row, group in zip(rows, groups, strict=True):
        assert row.twins == groups.count(group) - 1
        assert row.trained is (groups.count(group) == 1)


def test_a_token_that_equals_only_spare_rows_is_untrained(tmp_path: Path) -> None:
    groups = [0, 1, 2, 3, 4, 5, 6, 6, 6]  # two rows more than tokens
    rows = {row.token.text: row for row in special_rows(checkpoint(tmp_path, groups))}
    assert (rows["</tool_call>"].trained, rows["</tool_call>"].twins) == (False, 2)
    assert rows["<tool_call>"].trained


def test_what_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path, [*range(7)])
    (whole / "model.safetensors").rename(whole / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        special_rows(whole)
    assert by_name(audit_model(whole))["special tokens"].level is Level.WARN


def test_untrained_call_tags_are_a_failure_only_where_they_are_relied_on(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [0, 1, 2, 2, 4, 2, 2])
    asked = by_name(audit_model(path, Profile(call_format="hermes")))
    assert asked["call format"].level is Level.FAIL
    assert "<tool_call>, </tool_call>" in asked["call format"].sentence
    assert "cannot teach" in asked["call format"].remedy
    fenced = by_name(audit_model(path, Profile(call_format="fenced_json")))
    assert fenced["call format"].level is Level.WARN
    assert "asks for hermes, the model writes fenced_json" in fenced["call format"].sentence
    assert fenced["special tokens"].level is Level.WARN
    assert "4 of 7 were never trained" in fenced["special tokens"].sentence


def test_a_model_nobody_knows_is_warned_about(tmp_path: Path) -> None:
    findings = by_name(audit_model(checkpoint(tmp_path, [*range(7)])))
    assert findings["call format"].level is Level.WARN
    assert "not known" in findings["call format"].sentence
    assert findings["end of turn"].level is Level.OK
    assert findings["chat template"].level is Level.OK
    assert findings["special tokens"].level is Level.OK


def test_a_template_without_tools_and_an_end_nobody_wrote_down(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>{% endfor %}"
    findings = by_name(audit_model(checkpoint(tmp_path, [*range(7)], template=template, eos="none")))
    assert findings["chat template"].level is Level.WARN
    assert findings["end of turn"].level is Level.WARN


def test_no_template_and_no_checkpoint_are_failures(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [*range(7)])
    (path / "chat_template.jinja").unlink()
    assert by_name(audit_model(path))["chat template"].level is Level.FAIL
    (path / "config.json").unlink()
    (only,) = audit_model(path)
    assert (only.level, "config.json" in only.sentence) == (Level.FAIL, True)


def test_stop_candidates_are_trained_and_without_other_duty(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, [0, 1, 2, 2, 4, 5, 6])
    (only,) = trained_stop_candidates(path)
    assert (only.id, only.text) == (WORDS + TOKENS.index("<free>"), "<free>")
    assert "<free>" in by_name(audit_model(path))["stop token"].sentence


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        ("<free>", Level.OK, "was trained"),
        ("<call>", Level.FAIL, "never trained"),
        (None, Level.FAIL, "no added"),
    ],
)
def test_the_profiles_stop_token_is_checked(
    tmp_path: Path, text: str | None, level: Level, said: str
) -> None:
    chosen = 999 if text is None else WORDS + TOKENS.index(text)
    path = checkpoint(tmp_path, [0, 1, 2, 2, 4, 5, 6])
    finding = by_name(audit_model(path, Profile(stop_token_id=chosen)))["stop token"]
    assert (finding.level, said in finding.sentence) == (level, True)


def test_an_import_that_kills_its_process_is_a_finding_and_the_rest_go_on() -> None:
    libraries = [
        Library("fine", ("pytest",), "import json", "dev"),
        Library("crash", ("pytest",), "import os; os.abort()", "train"),
        Library("raises", ("pytest",), "import nothing_of_this_name", "vllm"),
        Library("unwanted", ("pytest",), "raise RuntimeError('operator does not exist')", ""),
        Library("absent", ("no-such-distribution",), "import json", "ray"),
        Library("absent and unwanted", ("no-such-distribution",), "import json", ""),
    ]
    found = by_name(check_imports(libraries))
    levels = {name: one.level for name, one in found.items()}
    assert levels == {
        "fine": Level.OK,
        "crash": Level.FAIL,
        "raises": Level.FAIL,
        "unwanted": Level.FAIL,
        "absent": Level.WARN,
    }
    assert "ended the process" in found["crash"].sentence
    assert "ModuleNotFoundError" in found["raises"].sentence
    assert "pip uninstall unwanted" in found["unwanted"].remedy
    assert "strop[ray]" in found["absent"].remedy


def test_a_cpu_is_said_to_have_the_unit_it_has() -> None:
    assert "(AVX-512)" in arithmetic("AVX-512")
    assert "(AMX)" in arithmetic("AMX")
    assert "float32" in arithmetic(None)


@pytest.mark.model
def test_this_machine_has_what_the_tests_need(tmp_path: Path) -> None:
    findings = by_name(check_machine(tmp_path / "not" / "there"))
    assert findings["torch"].level is Level.OK
    assert findings["transformers"].level is Level.OK
    assert findings["python"].level is Level.OK
    assert {"cores", "memory", "disk", "accelerator"} <= findings.keys()


@pytest.mark.model
def test_the_embedded_model_was_never_taught_its_call_tags() -> None:
    model = ModelStore().resolve("qwen2.5-coder-0.5b")
    trained = {row.token.text: row.trained for row in special_rows(model.path)}
    assert not trained["<tool_call>"]
    assert not trained["</tool_call>"]
    ends_and_fills = (
        "<|endoftext|>",
        "<|im_end|>",
        "<|fim_prefix|>",
        "<|fim_middle|>",
        "<|fim_pad|>",
        "<|file_sep|>",
    )
    assert all(trained[text] for text in ends_and_fills)
    findings = by_name(audit_model(model.path, model.profile))
    assert all(one.level is not Level.FAIL for one in findings.values())
    assert by_name(audit_model(model.path, Profile("hermes")))["call format"].level is Level.FAIL
    candidates = {one.text for one in trained_stop_candidates(model.path)}
    assert "<|fim_pad|>" in candidates
    assert not candidates & {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|box_start|>"}


def test_brackets_in_findings_are_no_markup() -> None:
    never = "Never trained: [INST] (3), [/INST] (4)."
    finding = Finding("tokens", Level.WARN, never, "pip install 'strop[vllm]'")
    shown = io.StringIO()
    Console(file=shown, width=200).print(table_of([finding]))
    assert finding.sentence in shown.getvalue()
    assert finding.remedy in shown.getvalue()

"""The configuration of a run: one TOML file, every key known, every default stated.

Unknown keys are errors, with the name of the table they stand in: a misspelt setting must not silently be
the default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from strop.agent.catalogue import load_catalogue
from strop.agent.refinement import parse_refine
from strop.refine.audit import Thresholds
from strop.refine.collect import CollectConfig
from strop.tools.errors import DataError, StropError, UsageError
from strop.training.acceptance import AcceptTable
from strop.training.corpus import CorpusConfig
from strop.training.dpo import DpoConfig
from strop.training.sft import SftConfig
from strop.training.table import Table
from strop.training.trackers import known_tracker
from strop.training.warmup import WarmupConfig


def _known_fields(kind: Any, value: Any, where: str = "") -> Any:
    """Refuse keys that dataclass `kind` has no field for, however deep; pydantic would ignore them."""
    if not isinstance(value, dict):
        return value
    types = get_type_hints(kind)
    unknown = sorted(value.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise ValueError(
            f"unknown key {where}{unknown[0]}; known are {', '.join(f.name for f in fields(kind))}"
        )
    for name, inner in value.items():
        if is_dataclass(types[name]):
            _known_fields(types[name], inner, f"{where}{name}.")
    return value


def closed(kind: type) -> WrapValidator:
    """Makes a dataclass in a configuration file closed to unknown keys, and says in which table a value is
    out of range."""

    def read(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(_known_fields(kind, value))
        except UsageError as error:
            raise ValueError(str(error)) from error

    return WrapValidator(read)


def _refine(text: str) -> str:
    parse_refine(text)
    return text


def _loading(kind: str) -> str:
    if "://" in kind:
        raise ValueError(
            f"a round loads the adapters it trains, and {kind} cannot be told to: auto, vllm or transformers"
        )
    return kind


def _tracker(name: str) -> str:
    known_tracker(name)
    return name


class EngineTable(Table):
    """What generates."""

    kind: Annotated[str, AfterValidator(_loading)] = "auto"
    """``auto``, ``vllm`` or ``transformers``."""
    max_model_len: Annotated[int, Field(ge=256)] = 4096
    """Most ids of prompt and answer together."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Passed on to vLLM as they are."""
    executor: Literal["local", "ray"] = "local"
    """What collects pairs: one engine, or `workers` of them on Ray (``$RAY_ADDRESS``, or a local one)."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Engines on Ray; each takes the GPUs it spreads over, where there are any."""

    def generates_with(self) -> dict[str, Any]:
        """What answers depend on: not who computes them."""
        return self.model_dump(exclude={"executor", "workers"})


class TasksTable(Table):
    """What is trained on, and what decides whether a round is accepted. Never a benchmark."""

    file: Path | None = None
    """Tasks, in any layout of `strop.training.layouts`; none: tasks are synthesised."""
    synthesise: Annotated[int, Field(ge=0)] = 0
    """How many to synthesise, where no file is given."""
    held_out: Annotated[int, Field(ge=8)] = 40
    """How many of them are set aside for acceptance and never trained on."""
    categories: tuple[str, ...] = ()
    """Categories to synthesise (`strop.training.synth.ALL_CATEGORIES`); `CATEGORIES` where empty."""
    allow_copies: bool = False
    """Whether to train on tasks that repeat something of a benchmark whose data are here; otherwise such
    tasks stop the run."""

    @model_validator(mode="after")
    def _one_source(self) -> TasksTable:
        if (self.file is None) == (self.synthesise == 0):
            raise ValueError("give either 'file' or 'synthesise'")
        if self.file is None and self.synthesise <= self.held_out:
            raise ValueError("'synthesise' must exceed 'held_out'")
        return self


class WarmupTable(Table):
    """What is learned from gold, easy to hard, before the first round. Tasks that ask what a held-out task
    asks are left out."""

    file: Path | None = None
    """Tasks, in any layout of `strop.training.layouts`."""
    regroup: Annotated[int, Field(ge=0)] = 0
    """How many families to make of the file's tasks (`strop.training.regrouping`); 0: they are taken as they
    are."""
    families: Annotated[int, Field(ge=0)] = 0
    """How many families of tasks to synthesise beside them (`strop.training.families`)."""
    stages: Annotated[WarmupConfig, closed(WarmupConfig)] = WarmupConfig()
    """In which order."""
    train: Annotated[SftConfig, closed(SftConfig)] = SftConfig()
    """How each stage is trained."""

    @model_validator(mode="after")
    def _some_source(self) -> WarmupTable:
        if self.file is None and self.families == 0:
            raise ValueError("give 'file', 'families' or both")
        if self.regroup and self.file is None:
            raise ValueError("'regroup' needs a 'file'")
        return self


class CorpusTable(Table):
    """What is learned, in every round and before its pairs, from the policy's own samples."""

    rows: Annotated[CorpusConfig, closed(CorpusConfig)] = CorpusConfig()
    """How much of them: right answers, and drafts to check."""
    train: Annotated[SftConfig, closed(SftConfig)] = SftConfig()
    """How it is trained."""
    stop_token: bool = True
    """Whether the policy learns to stop refining with a token, where the model has one that can be taught;
    otherwise, and where not, with the text its profile names."""


class BenchTable(Table):
    """How the policy is measured before and after."""

    categories: tuple[str, ...] = (
        "simple_python",
        "multiple",
        "parallel",
        "parallel_multiple",
        "irrelevance",
    )
    """BFCL categories."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """The first so many tasks of each category; none: all."""
    refine: Annotated[str, AfterValidator(_refine)] = "off"
    """``off``, ``adaptive`` or a number of rounds."""
    max_tokens: Annotated[int, Field(ge=1)] = 300
    """Most ids an answer may have."""
    concurrency: Annotated[int, Field(ge=1)] = 32
    """Requests in flight."""


_CHECK = Thresholds()


class CheckTable(Table):
    """When pairs are not trained on, as in `strop.refine.audit.Thresholds`; margin and length are those of
    ``collect.gate`` and ``train``."""

    allow: Annotated[float, Field(ge=0, le=1)] = _CHECK.allow
    """Most rows with any one defect, as a share."""
    max_bias: Annotated[float, Field(ge=0, le=1)] = _CHECK.max_bias
    """Most pairs whose chosen side is the longer one, or the shorter one."""
    max_near: Annotated[float, Field(ge=0, le=1)] = _CHECK.max_near
    """Most pairs that are nearly identical."""
    max_far: Annotated[float, Field(ge=0, le=1)] = _CHECK.max_far
    """Most pairs that have nothing in common, though they make as many calls."""
    max_drift: Annotated[float, Field(ge=0, le=1)] = _CHECK.max_drift
    """Most distance of the pairs' errors from those that samples show."""


class TrainWithTable(Table):
    """Who trains and who watches; neither changes what is trained."""

    launch: tuple[str, ...] = ()
    """A launcher and its arguments, such as ``["accelerate", "launch", "--config_file", "ddp.yaml"]``: the
    adapter is trained in the processes that it starts. Empty: in this one."""
    track: tuple[Annotated[str, AfterValidator(_tracker)], ...] = ()
    """Trackers that are told beside the log: ``tensorboard``, ``trackio``, ``wandb``."""


class ReplayTable(Table):
    """What of earlier rounds is trained on again."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of all pairs a round trains on, how many are those of earlier rounds, as far as there are that many; 0:
    a round trains on its own pairs alone."""


class RoundConfig(Table):
    """Everything a run depends on."""

    model: str = "qwen2.5-coder-0.5b"
    """Catalogue name, hub id, checkpoint directory or GGUF file."""
    adapter: Path | None = None
    """Adapter to start from."""
    rounds: Annotated[int, Field(ge=1)] = 1
    """How many rounds; a refused round ends the run."""
    while_selection_grows: bool = False
    """Whether a round ends the run, too, that selects no task which earlier rounds had not (ToolACE-R). For
    selections that tasks come into as the policy gets better, such as ``select = ["band:solvable"]``."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the synthesised tasks, the split and the replay; ``collect.seed`` and ``train.seed`` are their
    own."""
    engine: EngineTable = EngineTable()
    tasks: TasksTable
    bench: BenchTable = BenchTable()
    warmup: WarmupTable | None = None
    """What comes before the first round; none: nothing."""
    collect: Annotated[CollectConfig, closed(CollectConfig)] = CollectConfig()
    """How pairs are collected."""
    check: CheckTable = CheckTable()
    """What pairs must be like to be trained on."""
    corpus: CorpusTable | None = None
    """What is learned from samples before pairs are; none: nothing."""
    replay: ReplayTable = ReplayTable()
    """What of earlier rounds is trained on again."""
    train: Annotated[DpoConfig, closed(DpoConfig)] = DpoConfig()
    """How the adapter is trained on pairs."""
    train_with: TrainWithTable = TrainWithTable()
    accept: AcceptTable = AcceptTable()


def read_config(path: Path) -> RoundConfig:
    """Read a run's TOML file; paths in it are relative to it. Raises DataError naming key and reason."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not TOML: {error}", path=path) from error
    try:
        config = RoundConfig.model_validate(table)
    except StropError as error:
        raise DataError(str(error), path=path) from error
    except ValidationError as error:
        raise DataError("; ".join(map(_sentence, error.errors())), path=path) from error
    return _anchored(config, path.parent)


def _sentence(problem: Mapping[str, Any]) -> str:
    """One of pydantic's errors as people say it."""
    where = ".".join(map(str, problem["loc"])) or "file"
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {where}"
        case "missing":
            return f"{where} is missing"
        case "model_type" | "dataclass_type":
            return f"{where} must be a table"
        case "tuple_type":
            return f"{where} must be a list"
    return f"{where}: {str(problem['msg']).removeprefix('Value error, ')}"


def _anchored(config: RoundConfig, folder: Path) -> RoundConfig:
    tasks, warmup, model = config.tasks, config.warmup, config.model
    if tasks.file is not None:
        tasks = tasks.model_copy(update={"file": (folder / tasks.file).resolve()})
    if warmup is not None and warmup.file is not None:
        warmup = warmup.model_copy(update={"file": (folder / warmup.file).resolve()})
    adapter = None if config.adapter is None else (folder / config.adapter).resolve()
    if model and model not in load_catalogue() and (folder / model).exists():
        model = str((folder / model).resolve())
    return config.model_copy(update={"tasks": tasks, "warmup": warmup, "adapter": adapter, "model": model})

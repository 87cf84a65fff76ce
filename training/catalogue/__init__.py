"""The catalogue of made-up tools, with the words people ask for them in.

One TOML file a domain. A tool gives its arguments (schema and source of values together) and templates: whole
``questions``, ``clauses`` in the imperative, and ``batches`` (a lead and an item) for several calls at once.
``acts`` marks tools that change something, rather than answer; ``omissible = false`` marks an argument
without which a request is another one. ``unmet`` requests belong to a domain and cannot be met by its tools;
``served_by`` names tools that could meet one after all. Loading checks that every form of every template
states every required argument, so that a gold call never holds a value that has to be guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from strop.tools.errors import DataError
from strop.tools.spec import ToolSpec
from strop.training.catalogue.phrasing import Phrasing, paths_of
from strop.training.catalogue.values import Pools, Source, source_of

_NOT_SCHEMA = {
    "pool",
    "values",
    "range",
    "percent",
    "date",
    "years",
    "time",
    "code",
    "count",
    "optional",
    "above",
    "omissible",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One value of a call: an argument, or a leaf inside an object argument."""

    path: str
    """Name; dots lead into objects."""
    source: Source
    required: bool
    above: str | None = None
    """Path of the argument it must be greater (or later) than."""
    omissible: bool = True
    """Whether a request without it is still the same request, only incomplete."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A request for several calls of one tool: a lead, then one item a call."""

    lead: str
    item: Phrasing


@dataclass(frozen=True, slots=True)
class CatalogueTool:
    """A tool and how people ask for it."""

    spec: ToolSpec
    domain: str
    does: str
    """What it does, in words that follow "can"."""
    acts: bool
    """Whether it changes something outside the conversation (books, sends, sets), rather than answer."""
    arguments: tuple[Argument, ...]
    questions: tuple[Phrasing, ...]
    clauses: tuple[Phrasing, ...]
    batches: tuple[Batch, ...]
    overlaps: tuple[str, ...]
    """Tools that could serve the same request: never offered beside it."""

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(frozen=True, slots=True)
class Unmet:
    """Requests that a domain's tools cannot meet."""

    domain: str
    asks: tuple[Phrasing, ...]
    """Slots name pools directly."""
    missing: str
    """The ability that is missing, in words that follow "can"."""
    served_by: tuple[str, ...]
    """Tools, mostly of other domains, that could meet one of the requests all the same: never offered."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tools, by domain in file order."""

    tools: tuple[CatalogueTool, ...]
    unmet: tuple[Unmet, ...]
    openers: Mapping[str, tuple[str, ...]]
    """Remarks that may precede a request of the domain."""
    pools: Pools

    def domain(self, name: str) -> tuple[CatalogueTool, ...]:
        return tuple(tool for tool in self.tools if tool.domain == name)

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.openers)


@cache
def load_catalogue() -> Catalogue:
    """Read and check the catalogue shipped with Strop. Raises DataError naming the tool that is wrong."""
    folder = files(__name__)
    pools: Pools = tomllib.loads((folder / "pools.toml").read_text(encoding="utf-8"))
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    tools: list[CatalogueTool] = []
    unmet: list[Unmet] = []
    openers: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name == "pools.toml":
            continue
        domain = name.removesuffix(".toml")
        content = tomllib.loads((folder / name).read_text(encoding="utf-8"))
        openers[domain] = tuple(content["openers"])
        tools += [_tool(row, domain, pools) for row in content["tool"]]
        unmet += [
            Unmet(
                domain,
                tuple(Phrasing.parse(text) for text in row["asks"]),
                row["missing"],
                tuple(row.get("served_by", ())),
            )
            for row in content["unmet"]
        ]
    return Catalogue(tuple(tools), tuple(unmet), openers, pools)


def _tool(row: Mapping[str, Any], domain: str, pools: Pools) -> CatalogueTool:
    schema = _object_schema(row["arguments"])
    tool = CatalogueTool(
        spec=ToolSpec(row["name"], row["description"], schema),
        domain=domain,
        does=row["does"],
        acts=row.get("acts", False),
        arguments=tuple(_arguments(row["arguments"], pools)),
        questions=tuple(Phrasing.parse(text) for text in row["questions"]),
        clauses=tuple(Phrasing.parse(text) for text in row["clauses"]),
        batches=tuple(Batch(lead, Phrasing.parse(item)) for lead, item in row["batches"]),
        overlaps=tuple(row.get("overlaps", ())),
    )
    _check(tool)
    return tool


def _object_schema(arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    properties = {name: _schema(spec) for name, spec in arguments.items()}
    required = [name for name, spec in arguments.items() if _is_required(spec)]
    return {"type": "object", "properties": properties, "required": required}


def _schema(spec: Mapping[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in spec.items() if key not in _NOT_SCHEMA}
    if "items" in schema:
        schema["items"] = _schema(schema["items"])
    if "properties" in schema:
        schema |= _object_schema(schema["properties"])
    return schema


def _is_required(spec: Mapping[str, Any]) -> bool:
    return "default" not in spec and not spec.get("optional")


def _arguments(arguments: Mapping[str, Mapping[str, Any]], pools: Pools, prefix: str = "") -> list[Argument]:
    found: list[Argument] = []
    for name, spec in arguments.items():
        if "properties" in spec:
            found += _arguments(spec["properties"], pools, f"{prefix}{name}.")
        else:
            # A boolean is set by the words around it, so its source is never drawn from.
            source = source_of({"values": ["-"]} if spec["type"] == "boolean" else spec, pools)
            omissible = spec.get("omissible", True)
            found.append(Argument(prefix + name, source, _is_required(spec), spec.get("above"), omissible))
    return found


def _check(tool: CatalogueTool) -> None:
    known = {argument.path for argument in tool.arguments}
    required = {argument.path for argument in tool.arguments if argument.required}
    for phrasing in (*tool.questions, *tool.clauses, *(batch.item for batch in tool.batches)):
        for pieces in phrasing.variants():
            stated = paths_of(pieces)
            if not required <= stated <= known:
                wrong = sorted((required - stated) | (stated - known))
                raise DataError(f"tool {tool.name!r}: a template leaves out or makes up {wrong}: {pieces}")

"""Adapters by name: found, loaded, refused, unloaded; names that ask for refinement; headers that do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from strop.agent.engines.scripted import ScriptedEngine
from strop.agent.refinement import parse_refine
from strop.agent.server.app import create_app
from strop.agent.server.run import running
from strop.agent.server.served import Served
from tests.agent.server.serving import ONE_CALL, WEATHER, ask, roster_over

CHAT = "/v1/chat/completions"


def served(**options: Any) -> Served:
    def writes(text: str) -> Any:
        return lambda ids: "DONE" if b"Reply DONE" in bytes(i for i in ids if i < 256) else text

    engine = ScriptedEngine(writes(ONE_CALL), adapters={"tuned": writes("Tuned.")})
    return Served(roster_over(engine, "base"), **{"hot_adapters": True, **options})


async def test_an_adapter_comes_answers_and_goes(tmp_path: Path) -> None:
    async with running(create_app(served())) as url, httpx.AsyncClient(base_url=url) as http:
        row = {"lora_name": "tuned", "lora_path": str(tmp_path)}
        assert (await http.post("/v1/load_lora_adapter", json=row)).status_code == 200
        cards = (await http.get("/v1/models")).json()["data"]
        assert [(card["id"], card["parent"]) for card in cards] == [("base", None), ("tuned", "base")]
        reply = (await http.post(CHAT, json=ask(model="tuned"))).json()
        assert (reply["model"], reply["choices"][0]["message"]["content"]) == ("tuned", "Tuned.")
        assert (await http.post("/v1/unload_lora_adapter", json={"lora_name": "tuned"})).status_code == 200
        assert (await http.post(CHAT, json=ask(model="tuned"))).status_code == 404


@pytest.mark.parametrize(
    ("route", "row", "status", "param"),
    [
        ("load", {"lora_name": "a", "lora_path": "/nowhere"}, 400, "lora_path"),
        ("load", {"lora_name": "a", "lora_path": "0" * 5000}, 400, "lora_path"),
        ("load", {"lora_name": "a", "lora_path": "a\\u0000b"}, 400, "lora_path"),
        ("load", {"lora_name": "base", "lora_path": "."}, 400, "lora_name"),
        ("load", {"lora_name": "strop:a", "lora_path": "."}, 400, "lora_name"),
        ("load", {"lora_name": "a"}, 400, "lora_path"),
        ("unload", {"lora_name": "a"}, 404, "model"),
        ("unload", {"lora_name": "base"}, 400, "lora_name"),
    ],
)
async def test_what_is_wrong_with_an_adapter_is_said(
    route: str, row: dict[str, str], status: int, param: str
) -> None:
    async with running(create_app(served())) as url, httpx.AsyncClient(base_url=url) as http:
        reply = await http.post(f"/v1/{route}_lora_adapter", json=row)
        assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


async def test_clients_load_nothing_unless_they_may() -> None:
    async with (
        running(create_app(served(hot_adapters=False))) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        row = {"lora_name": "tuned", "lora_path": "."}
        assert (await http.post("/v1/load_lora_adapter", json=row)).status_code == 404


@pytest.mark.parametrize(
    ("default", "model", "header", "body", "rounds"),
    [
        ("off", "base", None, None, 0),
        ("off", "strop:base", None, None, 1),
        ("off", "base", "adaptive", None, 1),
        ("off", "base", "2", None, 1),
        ("adaptive", "base", None, None, 1),
        ("adaptive", "base", "off", None, 0),
        ("off", "strop:base", "off", None, 0),
        ("off", "strop:base", "adaptive", "off", 0),
        ("adaptive", "base", "off", 1, 1),
    ],
)
async def test_body_over_header_over_name_over_the_server(
    default: str, model: str, header: str | None, body: Any, rounds: int
) -> None:
    source = served(refine=parse_refine(default))
    headers = {"X-Strop-Refine": header} if header else {}
    fields = {"strop": {"refine": body}} if body is not None else {}
    request = ask(tools=[WEATHER], **{"model": model, **fields})
    async with running(create_app(source)) as url, httpx.AsyncClient(base_url=url) as http:
        reply = (await http.post(CHAT, json=request, headers=headers)).json()
        assert reply["strop"]["rounds"] == rounds
        assert reply["model"] == "base"
        wrong = await http.post(CHAT, json=request, headers={"X-Strop-Refine": "often"})
        assert wrong.status_code == 400

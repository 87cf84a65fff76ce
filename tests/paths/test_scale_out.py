"""Servers behind a server, adapters that come and go, two copies in Ray Serve: with a real small model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.paths.served import engine_processes, strop_serve

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

SMALL = ("smollm2-135m", "--engine", "transformers", "--max-model-len", "1024")
CHAT = "/v1/chat/completions"


NUMBERS = {"type": "array", "items": {"type": "string", "minLength": 8}, "minItems": 200}
SCHEMA = {"type": "object", "properties": {"numbers": NUMBERS}, "required": ["numbers"]}
ENDLESS = {
    "max_tokens": 900,
    "response_format": {"type": "json_schema", "json_schema": {"name": "numbers", "schema": SCHEMA}},
}
"""An answer that cannot end early, however the machine's arithmetic falls."""


def ask(question: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "max_tokens": 8, **fields}


def test_two_backends_share_the_work_and_one_is_enough() -> None:
    with ExitStack() as stack:
        backends = [stack.enter_context(strop_serve(*SMALL)) for _ in range(2)]
        urls = [word for backend in backends for word in ("--backend", backend.url)]
        front = stack.enter_context(strop_serve("smollm2-135m", "--max-model-len", "1024", *urls))
        with httpx.Client(base_url=front.url, timeout=120) as http, ThreadPoolExecutor(8) as pool:
            questions = [f"{index}: tell me about the number {index * 7919}." for index in range(8)]
            replies = list(pool.map(lambda q: http.post(CHAT, json=ask(q)).json(), questions))
            alone = httpx.post(f"{backends[0].url}{CHAT}", json=ask(questions[0]), timeout=120).json()
            assert replies[0]["choices"] == alone["choices"]
            counts = [_answered(backend.url) for backend in backends]
            assert min(counts) >= 2, counts
            backends[0].process.kill()
            backends[0].process.wait()
            after = list(pool.map(lambda q: http.post(CHAT, json=ask(q)).status_code, questions))
            assert after == [200] * 8
            assert http.get("/ready").status_code == 200


def _answered(url: str) -> int:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    wanted = 'strop_requests_total{route="/v1/completions",status="200"}'
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted)))


@pytest.fixture
def adapter(smollm: Path, tmp_path: Path) -> Path:
    """A random LoRA adapter, large enough to change what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(smollm), config).save_pretrained(tmp_path / "a")
    return tmp_path / "a"


def test_adapters_come_and_go_while_the_server_runs(adapter: Path) -> None:
    flags = ("--max-model-len", "1024", "--hot-loras", "--lora", f"first={adapter}", "--max-loras", "2")
    with (
        strop_serve("smollm2-135m", *flags) as server,
        httpx.Client(base_url=server.url, timeout=120) as http,
    ):
        assert [card["id"] for card in http.get("/v1/models").json()["data"]] == ["smollm2-135m", "first"]
        plain = http.post(CHAT, json=ask("Hello", model="smollm2-135m")).json()["choices"]
        tuned = http.post(CHAT, json=ask("Hello", model="first")).json()["choices"]
        assert plain != tuned
        named = {"lora_name": "second", "lora_path": str(adapter)}
        assert http.post("/v1/load_lora_adapter", json=named).status_code == 200
        assert http.post(CHAT, json=ask("Hello", model="second")).json()["choices"] == tuned
        assert http.post("/v1/load_lora_adapter", json=named).status_code == 400  # taken
        missing = {"lora_name": "third", "lora_path": str(adapter / "nowhere")}
        assert http.post("/v1/load_lora_adapter", json=missing).status_code in (400, 503)
        assert http.post("/v1/unload_lora_adapter", json={"lora_name": "second"}).status_code == 200
        assert http.post(CHAT, json=ask("Hello", model="second")).status_code == 404
        assert http.post(CHAT, json=ask("Hello", model="smollm2-135m")).json()["choices"] == plain


def test_an_engine_that_is_killed_is_started_again() -> None:
    with (
        strop_serve("smollm2-135m", "--max-model-len", "1024") as server,
        httpx.Client(base_url=server.url, timeout=120) as http,
        ThreadPoolExecutor(4) as pool,
    ):
        before = http.post(CHAT, json=ask("Hello")).json()["choices"]
        running = [pool.submit(http.post, CHAT, json=ask("Count.", **ENDLESS)) for _ in range(3)]
        time.sleep(1)
        for pid in engine_processes(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        for reply in [future.result() for future in running]:
            assert (reply.status_code, bool(reply.headers["retry-after"])) == (503, True)
        refused = http.post(CHAT, json=ask("Hello"))
        assert (refused.status_code, "started again" in refused.text) == (503, True)
        for _ in range(5):  # and goes on answering while the engine starts, which takes longer
            assert http.get("/ready", timeout=10).status_code in (200, 503)
            time.sleep(1)
        _wait(http, server.process)
        assert http.post(CHAT, json=ask("Hello")).json()["choices"] == before
        _leaves_nothing_when_it_is_ended_while_an_engine_starts(http, server.process)


def _leaves_nothing_when_it_is_ended_while_an_engine_starts(
    http: httpx.Client, process: subprocess.Popen[str]
) -> None:
    for pid in engine_processes(process.pid):
        os.kill(pid, signal.SIGKILL)
    assert http.post(CHAT, json=ask("Hello")).status_code == 503
    while not (starting := engine_processes(process.pid)):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not [pid for pid in starting if Path(f"/proc/{pid}").exists()]


def test_two_copies_in_ray_serve(tmp_path: Path) -> None:
    pytest.importorskip("ray.serve", reason="Ray is not installed: strop[ray]")
    port = "8319"
    words = [sys.executable, "-m", "strop.agent.cli", "serve", *SMALL, "--replicas", "2", "--port", port]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
            _wait(http, process)
            with ThreadPoolExecutor(8) as pool:
                replies = list(pool.map(lambda i: http.post(CHAT, json=ask(f"{i}?")), range(16)))
            assert Counter(reply.status_code for reply in replies) == {200: 16}
            stream = http.post(CHAT, json=ask("Hello", stream=True)).text
            assert stream.rstrip().endswith("data: [DONE]")
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait(http: httpx.Client, process: subprocess.Popen[Any]) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            if http.get("/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    pytest.fail("the server did not become ready")

"""The hub delivers, or is given up within seconds; pip's own words reach the user."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from strop.agent.hub import HUB_ID
from strop.agent.sources import HUB_SECONDS, SourceUnavailableError, stream_url, url_refusal
from strop.agent.wheels import fetch_wheel
from strop.tools.errors import ModelError
from tests.agent.index import build_wheel, pip_env

BODY = bytes(range(256)) * 9000


class Files(BaseHTTPRequestHandler):
    """Serves `BODY` everywhere but where the path asks for trouble."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()
        if "broken" in self.path:
            self.wfile.write(BODY[:1000])  # fewer than announced
        elif "missing" not in self.path:
            self.wfile.write(BODY)

    def answer(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", "0" if "missing" in self.path else str(len(BODY)))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is its assertions."""


@contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_file_is_streamed_whole() -> None:
    with serving() as url:
        assert b"".join(stream_url(f"{url}/file", {})) == BODY


@pytest.mark.parametrize(("path", "message"), [("missing", "answers 404"), ("broken", "broke off")])
def test_a_hub_that_fails_is_unavailable(path: str, message: str) -> None:
    with serving() as url, pytest.raises(SourceUnavailableError, match=message):
        b"".join(stream_url(f"{url}/{path}", {}))


def test_a_hub_that_never_answers_is_given_up_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        refusal = url_refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert refusal is not None
    assert time.monotonic() - begin < HUB_SECONDS + 1


def test_no_hub_is_given_up_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "cannot be reached" in (url_refusal(f"http://127.0.0.1:{port}/") or "")


PULL = """
import sys
from pathlib import Path
from dataclasses import replace
from strop.agent.models import ModelStore
from strop.agent.sources import Hub
from tests.agent.index import tiny_model, write_checkpoint
from tests.agent.test_sources import BODY
model = tiny_model((BODY,))
store = ModelStore(Path(sys.argv[1]), sources=[Hub()], catalogue={"tiny": model}, convert=write_checkpoint)
print(store.pull("tiny").path)
"""


@pytest.mark.parametrize("offline", ["0", "1"])
def test_the_hub_is_the_users_and_may_be_switched_off(tmp_path: Path, offline: str) -> None:
    with serving() as url:
        env = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path / "hf")}
        command = [sys.executable, "-c", PULL, str(tmp_path / "cache")]
        root = Path(__file__).parents[2]
        result = subprocess.run(command, env=env, cwd=root, capture_output=True, text=True, check=False)
    if offline == "1":
        assert "the hub: HF_HUB_OFFLINE is set" in result.stderr
    else:
        assert (Path(result.stdout.strip()) / "model.safetensors").read_bytes().endswith(BODY)


def test_a_wheel_is_fetched_and_nothing_else_is_left(tmp_path: Path) -> None:
    build_wheel(tmp_path / "wheels", "tiny-part0", "1.0", "data/x.bin", b"x")
    seen: list[int] = []
    wheel = fetch_wheel(
        "tiny-part0", "1.0", tmp_path / "out", env=pip_env(tmp_path / "wheels"), progress=seen.append
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == [wheel.name]
    assert seen


def test_an_unknown_package_fails_with_pips_last_line(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    with pytest.raises(ModelError, match=r"tiny-none==1\.0: pip download failed: No matching distribution"):
        fetch_wheel("tiny-none", "1.0", tmp_path / "out", env=pip_env(tmp_path / "wheels"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "is_id"),
    [("org/name", True), ("Qwen/Qwen2.5-0.5B", True), ("name", False), ("./a/b", False), ("/a/b", False),
     ("a/b/c", False), ("~/b", False), ("../b", False)],
)  # fmt: skip
def test_hub_ids_are_told_from_paths(text: str, is_id: bool) -> None:
    assert bool(HUB_ID.fullmatch(text)) is is_id

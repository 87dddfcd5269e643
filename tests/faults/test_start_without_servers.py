"""A worker that starts while every server is away answers, and releases nothing."""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.integration


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def gateway_alone(tmp_path: Path) -> Iterator[str]:
    """`gateway serve` whose servers are all on a closed port; its address."""
    nowhere, port = closed_port(), closed_port()
    for name in ("pepper", "subject-keys", "signing-key"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(f"1:{secrets.token_hex(32)}\n")
    dsn = f"postgresql://nobody:nothing@127.0.0.1:{nowhere}/none"
    environment = {
        **os.environ,
        "GATEWAY_POSTGRES_DSN": dsn,
        "GATEWAY_REGISTRY_DSN": dsn,
        "GATEWAY_AUDITOR_DSN": dsn,
        "GATEWAY_RECEIPTS_DSN": dsn,
        "GATEWAY_SEALER_DSN": dsn,
        "GATEWAY_REDIS_URL": f"redis://127.0.0.1:{nowhere}/0",
        "GATEWAY_PEPPER_FILE": str(tmp_path / "pepper"),
        "GATEWAY_SUBJECT_KEYS_FILE": str(tmp_path / "subject-keys"),
        "GATEWAY_SIGNING_KEY_FILE": str(tmp_path / "signing-key"),
        "GATEWAY_LOG_ORIGIN": "log.example/alone",
        "GATEWAY_PORT": str(port),
        "GATEWAY_WORKERS": "1",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


def test_a_start_without_any_server_answers_503_and_becomes_not_ready(
    gateway_alone: str,
) -> None:
    ready = once_it_listens(f"{gateway_alone}/health/ready")
    answer = httpx.get(f"{gateway_alone}/v1/account")
    assert ready.status_code == 503
    assert set(ready.json()["degraded"]) == {"postgres", "registry", "redis"}
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/audit-unavailable"
    assert "access-id" not in answer.headers


def once_it_listens(url: str) -> httpx.Response:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return httpx.get(url)
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("the worker never listened")

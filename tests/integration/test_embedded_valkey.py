"""What the embedded Valkey keeps, and whom it lets in."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gateway.embedded.ports import HOST
from gateway.embedded.valkey import ValkeyServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with tempfile.TemporaryDirectory(prefix="gateway-test-") as name:
        Path(name).chmod(0o755)
        server = ValkeyServer(Path(name) / "valkey")
        server.start()
        yield server
        server.stop()


def client_of(server: ValkeyServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_valkey_keeps_its_data_password_and_port_between_starts(
    valkey: ValkeyServer,
) -> None:
    with client_of(valkey) as client:
        client.set("kept", "7")
    url = valkey.url
    valkey.stop()
    assert not valkey.running
    valkey.start()
    assert valkey.url == url
    with client_of(valkey) as client:
        assert client.get("kept") == "7"


def test_valkey_comes_back_with_its_data_after_a_kill(valkey: ValkeyServer) -> None:
    with client_of(valkey) as client:
        client.set("survivor", "8")
        time.sleep(1.2)  # everysec: a kill may cost the last second
    valkey.kill()
    assert not valkey.running
    valkey.start()
    with client_of(valkey) as client:
        assert client.get("survivor") == "8"


def test_valkey_lets_nobody_in_without_the_password(valkey: ValkeyServer) -> None:
    at_once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=valkey.port, retry=at_once) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_valkey_keeps_everything_on_disk_and_evicts_nothing(
    valkey: ValkeyServer,
) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "bind": HOST,
        "protected-mode": "yes",
        "hide-user-data-from-log": "yes",
    }
    with client_of(valkey) as client:
        assert client.config_get(*wanted) == wanted

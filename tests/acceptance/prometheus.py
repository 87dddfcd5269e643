"""A real Prometheus with the rules as they are deployed, at a pace that tests can wait for."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import yaml  # type: ignore[import-untyped]  # it has no types; it comes with Litestar

from gateway.embedded.ports import free_port

DEPLOYED: Final = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
PROGRAM: Final = shutil.which("prometheus")
PACE: Final = "1s"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0


class Prometheus:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, expr: str, at: float) -> list[float]:
        """The values of an instant vector; `at` in seconds since 1970."""
        found = await self._get("query", query=expr, time=at)
        return [float(one["value"][1]) for one in found["result"]]

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule, with how its last evaluation went."""
        groups = (await self._get("rules"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def _get(self, what: str, **parameters: str | float) -> Any:
        answer = await self._client.get(f"/api/v1/{what}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@asynccontextmanager
async def scraping(folder: Path, ports: list[int]) -> AsyncIterator[Prometheus]:
    """One that scrapes the gateways on these ports; ends with the context."""
    assert PROGRAM is not None
    settings = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text("utf-8"))
    settings["global"] = {"scrape_interval": PACE, "evaluation_interval": PACE}
    settings["rule_files"] = [str(DEPLOYED / one) for one in settings["rule_files"]]
    (gateways,) = settings["scrape_configs"]
    gateways["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(settings))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - a moment; the system's program
            [
                *(PROGRAM, f"--config.file={file}"),
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await _ready(client, process)
            yield Prometheus(client)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, STOP_SECONDS)


async def _ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.poll() is None:
            with suppress(httpx.TransportError):
                if (await client.get("/-/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise AssertionError(f"Prometheus ended with {process.returncode}")

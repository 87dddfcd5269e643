"""On a real Prometheus every panel has something to show, and every rule is evaluated."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import PLENTY
from tests.acceptance.prometheus import DEPLOYED, PROGRAM, Prometheus, scraping
from tests.acceptance.questions import UNKNOWN_NIK, Question, nik_of
from tests.acceptance.service import Service
from tests.acceptance.serving import Gateway
from tests.acceptance.wire import Connection
from tests.integration import witnesses

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.skipif(
        PROGRAM is None, reason="Prometheus (the Debian package) is not installed here"
    ),
]

BOARDS: Final = DEPLOYED.parent / "grafana" / "dashboards"
SHOWN_SECONDS: Final = 60.0
# What looks back over `offset 15m` is asked what it will say of now.
LATER: Final = 20 * 60.0
TINY: Final = {**PLENTY, "day": 20}


@asynccontextmanager
async def under_load(service: Service, *gateways: Gateway) -> AsyncIterator[None]:
    """Calls of every kind, answered and refused, several a second on each gateway."""
    caller, tiny = await service.make_callers({}, {"limits": TINY})
    nik = nik_of(service.residents[5])
    asked = [
        questions.verify(caller, nik, {"birth_date": "1801-01-01"}),
        questions.fetch(caller, nik, ["name"]),
        questions.fetch(caller, UNKNOWN_NIK, ["name"]),
        questions.fetch(caller, nik, ["kk"]),
        questions.fetch(tiny, nik, ["name"]),
        questions.account(None),
    ]
    async with asyncio.TaskGroup() as tasks:
        calling = [tasks.create_task(_call(gateway, asked)) for gateway in gateways]
        yield
        for task in calling:
            task.cancel()


async def _call(gateway: Gateway, asked: list[Question]) -> None:
    while True:
        async with Connection.opened(gateway.port) as connection:
            for question in asked:
                await question.put(connection)
        await asyncio.sleep(0.2)


def queries() -> dict[str, str]:
    """What panels ask, by where it stands."""
    return {
        f"{path.stem}: {panel['title']} {target['refId']}": target["expr"]
        for path in BOARDS.glob("*.json")
        for panel in json.loads(path.read_text("utf-8"))["panels"]
        for target in panel["targets"]
    }


async def empty(prometheus: Prometheus, asked: dict[str, str]) -> list[str]:
    """Which of them give nothing, or no number."""
    found = []
    for where, expr in asked.items():
        at = time.time() + (LATER if "offset" in expr else 0)
        values = await prometheus.ask(expr, at)
        if not values or not all(map(math.isfinite, values)):
            found.append(where)
    return found


async def test_no_panel_is_empty_and_no_rule_fails_after_a_load(
    service: Service, tmp_path: Path
) -> None:
    key = (await service.ask("GET", "/log/key")).body.decode().splitlines()[0]
    async with witnesses.served(tmp_path, log=key) as witness:
        known = tmp_path / "witnesses"
        known.write_text(f"{witness.url} {witness.known.key.text}\n")
        async with (
            service.second_gateway(GATEWAY_WITNESSES_FILE=str(known)) as second,
            scraping(tmp_path, [service.gateway.port, second.port]) as prometheus,
            under_load(service, service.gateway, second),
        ):
            rules = await prometheus.rules()
            asked = queries() | {
                rule["name"]: rule["query"]
                for rule in rules
                if rule["type"] == "recording"
            }
            assert len(asked) > 50
            deadline = time.monotonic() + SHOWN_SECONDS
            while left := await empty(prometheus, asked):
                assert time.monotonic() < deadline, left
                await asyncio.sleep(1)
            failed = {
                rule["name"]: rule.get("lastError")
                for rule in await prometheus.rules()
                if rule["health"] == "err"
            }
            assert failed == {}
            firing = await prometheus.ask('ALERTS{alertstate="firing"}', time.time())
            assert firing == []

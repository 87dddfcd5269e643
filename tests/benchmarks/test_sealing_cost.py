"""What sealing costs the calls: verify calls a second with the sealer and without.

The sealer is stopped (SIGSTOP) for every other round. What it is behind by then, it
seals before the next round begins, so that each round is of a steady state.

Calls a second are what others leave of the machine. The processor's time for a call,
in all processes that have a part in it and wrk's, is told too: that depends on others
less, and where all cores are busy it is what calls a second follow from.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import statistics
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import pytest

from gateway.postgres import Connection
from tests.acceptance import questions
from tests.acceptance.questions import nik_of
from tests.acceptance.service import LOG, Service, running

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk"),
]

ROUNDS: Final = 6
SECONDS: Final = 10
CONNECTIONS: Final = 64
_UNSEALED: Final = """
SELECT coalesce(sum(b.entries), 0) FROM batches AS b
WHERE NOT EXISTS (SELECT FROM seals AS s WHERE s.batch = b.batch)
"""
_SCRIPT: Final = """
local bodies = {{ {bodies} }}
local at = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
request = function()
  at = at % #bodies + 1
  return wrk.format(nil, "/v1/verify", nil, bodies[at])
end
"""


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    async with running(folder, residents=5000, newcomers=1) as service:
        yield service


def script(service: Service, file: Path) -> Path:
    """What wrk asks: each of a thousand residents in turn."""
    caller = service.sample("bulk")
    claims = {"birth_date": "1990-01-05"}
    asked = [
        questions.verify(caller, nik_of(resident), claims)
        for resident in service.residents
    ]
    bodies = ", ".join(f"[[{json.dumps(one.json)}]]" for one in asked)
    file.touch(mode=0o600)
    file.write_text(_SCRIPT.format(bodies=bodies, key=caller.key))
    return file


async def rate(service: Service, asked: Path) -> float:
    """Calls a second, none of which failed."""
    wrk = await asyncio.create_subprocess_exec(
        "wrk",
        *("-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(asked)),
        f"http://127.0.0.1:{service.gateway.port}",
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await wrk.communicate())[0].decode()
    assert "Non-2xx" not in said, said
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def processor_seconds(service: Service) -> float:
    """Spent so far by gateway, sealer and servers, and by every wrk that has ended."""
    times = os.times()
    spent = times.children_user + times.children_system
    for pid in (
        *(service.gateway.pid, service.log.pid),
        *(service.registry.pid, service.valkey.pid),
    ):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                spent += used.user + used.system
    return spent


async def behind(connection: Connection) -> int:
    unsealed: int = await connection.fetchval(_UNSEALED)
    return unsealed


async def drained(connection: Connection) -> None:
    while await behind(connection):  # noqa: ASYNC110 - no event tells of a seal
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)


async def test_what_sealing_costs(service: Service, tmp_path: Path) -> None:
    asked = script(service, tmp_path / "verify.lua")
    connection = await asyncpg.connect(service.log.dsn(database=LOG))
    await rate(service, asked)
    rates: dict[bool, list[float]] = {True: [], False: []}
    costs: dict[bool, list[float]] = {True: [], False: []}
    for n in range(2 * ROUNDS):
        await drained(connection)
        # On, off, off, on: what drifts meanwhile favours neither.
        on = n % 4 in {0, 3}
        sealer = service.gateway.sealer()
        assert sealer is not None
        before = processor_seconds(service)
        if not on:
            os.kill(sealer, signal.SIGSTOP)
        try:
            measured = await rate(service, asked)
            left = await behind(connection)
        finally:
            os.kill(sealer, signal.SIGCONT)
        rates[on].append(measured)
        spent = (processor_seconds(service) - before) / (measured * SECONDS)
        costs[on].append(spent)
        print(  # noqa: T201 - what is measured
            f"\nsealing {'on ' if on else 'off'}: {measured:,.0f}/s, {spent * 1e6:.0f} us"
            f" a call; {left:,} entries behind (load {os.getloadavg()[0]:.1f})"
        )
    await connection.close()
    for what, of in (("calls/s", rates), ("seconds of processor a call", costs)):
        with_it, without = (statistics.median(of[on]) for on in (True, False))
        print(  # noqa: T201 - as above
            f"{what}, medians of {ROUNDS}: {with_it:,.6g} with sealing, {without:,.6g}"
            f" without: {with_it / without:.1%}"
        )

"""kill -9 of the sealer and of PostgreSQL: one history, and every entry once in it."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlencode

import asyncpg
import psutil
import pytest

from gateway.audit.export import Exports, write_export
from gateway.audit.sealed import SealedLog, encoded
from gateway.postgres import pool
from tests.acceptance import questions
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import LOG, Service
from tests.evidence.independent import check_export, check_grown, check_history
from tests.evidence.notes import Checkpoint, VerifierKey
from tests.faults.heads import Heads, sealed_leaves, watched
from tests.faults.load import Load, under_load

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("whole")]

# Few, so that hundreds of seconds of answers are not more than memory holds.
CALLERS: Final = 3
# Generous: how soon they are back is other tests' to hold.
PATIENCE: Final = 30.0
PAIRS: Final = 300
PAIRS_OVER_HTTP: Final = 40
TITLES: Final = ("postgres: gateway_sealer", "postgres: gateway_hot")

_UNSEALED: Final = """
SELECT count(*) FROM batches AS b
WHERE NOT EXISTS (SELECT FROM seals AS s WHERE s.batch = b.batch)
"""


class Ledger:
    """What the callers were answered: the entries that must be in the log."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()

    def take(self, load: Load) -> None:
        """Takes the answers out of a load, which would else fill memory."""
        taken, load.answered = load.answered, []
        self.acknowledged |= {
            one.answer.access_id for one in taken if one.answer.access_id is not None
        }


class Killer:
    """Kills at moments that are as random as the sealer's work is."""

    def __init__(self, service: Service, heads: Heads, chance: Random) -> None:
        self._service = service
        self._heads = heads
        self._chance = chance

    async def kill_sealer(self) -> None:
        """A sealer that begins, waits for the lock, or has sealed a little."""
        sealer = await self._sealer()
        if self._chance.random() < 0.5:
            await self._heads.grow(within=PATIENCE)
        await asyncio.sleep(self._chance.uniform(0, 1.5))
        os.kill(sealer, signal.SIGKILL)
        while self._service.gateway.sealer() == sealer:  # noqa: ASYNC110 - as it ends
            await asyncio.sleep(0.02)

    async def _sealer(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while (pid := self._service.gateway.sealer()) is None:
            assert time.monotonic() < deadline, "no sealer came instead"
            await asyncio.sleep(0.02)
        return pid

    async def kill_postgres(self) -> None:
        """The postmaster, or one of its processes, for which it ends all others."""
        await self._heads.grow(within=PATIENCE)
        await asyncio.sleep(self._chance.uniform(0, 1.5))
        log = self._service.log
        if self._chance.random() < 0.5 and (serving := self._serving()):
            os.kill(self._chance.choice(serving), signal.SIGKILL)
            return
        await asyncio.to_thread(log.kill)
        await asyncio.to_thread(log.start)

    def _serving(self) -> list[int]:
        assert self._service.log.pid is not None
        children = psutil.Process(self._service.log.pid).children()
        return [
            child.pid
            for child in children
            if " ".join(child.cmdline()).startswith(TITLES)
        ]


def asked(service: Service) -> Iterator[Question]:
    """Lookups without end, by a caller whose limits are far."""
    caller = service.sample("bulk")
    while True:
        for resident in service.residents:
            yield questions.fetch(caller, nik_of(resident), ["name", "village"])


@pytest.mark.slow
@pytest.mark.parametrize(("sealer_kills", "postgres_kills"), [(3, 2), (50, 50)])
async def test_the_log_is_one_history_through_kills_of_sealer_and_postgres(
    service: Service, tmp_path: Path, sealer_kills: int, postgres_kills: int
) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance, ledger = Random(seed), Ledger()  # noqa: S311 - nothing here is secret
    making = asked(service)
    async with (
        watched(service) as heads,
        under_load(service, lambda: next(making), callers=CALLERS) as load,
    ):
        killer = Killer(service, heads, chance)
        kills = [killer.kill_sealer] * sealer_kills
        kills += [killer.kill_postgres] * postgres_kills
        for kill in chance.sample(kills, len(kills)):
            await kill()
            ledger.take(load)
        await heads.grow(within=PATIENCE)
    ledger.take(load)
    assert len(ledger.acknowledged) > 100 * len(kills)
    await everything_sealed(service)
    lines = await check_lines(service, ledger, tmp_path / "log.ndjson")
    assert await sealed_leaves(service.log.dsn(database=LOG)) == len(lines)
    await check_heads(service, heads, lines, chance)


async def everything_sealed(service: Service) -> None:
    connection = await asyncpg.connect(service.log.dsn(database=LOG))
    deadline = time.monotonic() + PATIENCE
    while await connection.fetchval(_UNSEALED):
        assert time.monotonic() < deadline, "committed entries stay unsealed"
        await asyncio.sleep(0.1)
    await connection.close()


async def log_keys(service: Service) -> list[VerifierKey]:
    answer = await service.ask("GET", "/log/key")
    return [VerifierKey.parse(line) for line in answer.body.decode().splitlines()]


async def check_lines(service: Service, ledger: Ledger, file: Path) -> list[str]:
    """The whole log, proven by itself: each acknowledged entry is in it exactly once."""
    async with pool(
        service.auditor_dsn, name="auditor", size=1, statement_seconds=60
    ) as auditor:
        exports = Exports(auditor)
        extract = await exports.find(None, None)
        assert extract is not None
        assert extract.start == 0
        await write_export(exports, file, extract)
    lines = check_export(file, await log_keys(service))
    times = Counter(json.loads(line)["access_id"] for line in lines)
    assert [name for name, count in times.items() if count > 1] == []
    assert ledger.acknowledged - set(times) == set()
    return lines


async def check_heads(
    service: Service, heads: Heads, lines: list[str], chance: Random
) -> None:
    """Every head ever shown, or kept, is the past of every later one."""
    assert min(heads.shown["database"], heads.shown["http"]) > 0
    connection = await asyncpg.connect(service.log.dsn(database=LOG))
    kept = {
        row["note"] for row in await connection.fetch("SELECT note FROM checkpoints")
    }
    await connection.close()
    assert heads.notes - kept == set(), "a head that was shown is gone"
    found = [*check_history(lines, [*kept], await log_keys(service))]
    # One after each kill at least: that was waited for.
    assert len({head.size for head in found}) == len(found) > 5
    pairs = [*pairwise(found)]
    pairs += [sample(found, chance) for _ in range(PAIRS)]
    async with pool(
        service.auditor_dsn, name="auditor", size=1, statement_seconds=60
    ) as auditor:
        log = SealedLog(auditor)
        for old, new in pairs:
            path = encoded(await log.consistency(old.size, new.size))
            check_grown({"from": old.size, "to": new.size, "hashes": path}, old, new)
    for old, new in chance.sample(pairs, PAIRS_OVER_HTTP):
        query = urlencode({"from": old.size, "to": new.size})
        answer = await service.ask("GET", f"/log/proof/consistency?{query}")
        check_grown(answer.json, old, new)


def sample(heads: list[Checkpoint], chance: Random) -> tuple[Checkpoint, Checkpoint]:
    one, other = sorted(chance.sample(range(len(heads)), 2))
    return heads[one], heads[other]

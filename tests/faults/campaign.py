"""Calls without end while Redis is stopped, hung, emptied and failed over, and what came of it.

`python -m tests.faults.campaign --calls 1000000 --each 10 --seed 7` prints what it counted
and ends with 1 where something was not as promised. A failover is to a copy that lacks
the last writes: it stopped following a moment before.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.console import Console

from gateway.audit.charges import Charges
from gateway.embedded.judging import keeps_to_rate
from gateway.embedded.passage import Passage
from gateway.embedded.ports import HOST
from gateway.embedded.valkey import ValkeyServer
from gateway.postgres import pool
from gateway.quota.reconciliation import reconcile
from gateway.redis import open_server
from gateway.vocabulary import Limits
from tests.acceptance.callers import Caller
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service, running
from tests.integration.limiting import redis_counts

CONNECTIONS: Final = 24
UNDECIDED: Final = 503
PAUSE_SECONDS: Final = 0.02
KINDS: Final = ("stopped", "hung", "emptied", "failed over")
AWAY_SECONDS: Final = (0.3, 2.5)
UNFOLLOWED_SECONDS: Final = 0.5
# Of institutions: a day that is used up, a rate that refuses, and no near limit.
FREE: Final = {"rate": 100_000, "burst": 100_000, "day": 10**8, "month": 10**9}
RATE: Final = {**FREE, "rate": 20, "burst": 20}
console = Console(stderr=True)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def terms_for(calls: int) -> list[dict[str, int]]:
    """Half of its share of the calls uses up the day of some."""
    day = {**FREE, "day": calls // 60}
    return [FREE] * 20 + [day] * 5 + [RATE] * 5


class Pair:
    """Two servers, of which one counts; both know the same password."""

    def __init__(self, folder: Path) -> None:
        self.counting = ValkeyServer(folder / "one")
        self.other = ValkeyServer(folder / "other")
        self.password = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        with ExitStack() as until_then:
            for server in (self.counting, self.other):
                server.start()
                until_then.callback(server.stop)
            self.password = self.counting.password
            for server in (self.counting, self.other):
                self.own(server)
            yield

    def start(self, server: ValkeyServer) -> None:
        server.start()
        self.own(server)

    def ask(self, server: ValkeyServer, password: str, *command: object) -> Any:
        with redis.Redis(
            HOST, server.port, password=password, retry=Retry(NoBackoff(), 0)
        ) as client:
            return client.execute_command(*command)

    def own(self, server: ValkeyServer) -> None:
        """Its password is the pair's, whatever its file says."""
        for setting in ("masterauth", "requirepass"):
            self.ask(server, server.password, "CONFIG", "SET", setting, self.password)

    def follow(self) -> None:
        port = self.counting.port
        self.ask(self.other, self.password, "REPLICAOF", HOST, port)
        deadline = time.monotonic() + 20
        while b"master_link_status:up" not in self._replication():
            assert time.monotonic() < deadline, "the copy does not follow"
            time.sleep(0.05)

    def _replication(self) -> bytes:
        told = self.ask(self.other, self.password, "INFO", "replication")
        return b"\n".join(f"{key}:{value}".encode() for key, value in told.items())

    def promote(self) -> None:
        self.ask(self.other, self.password, "REPLICAOF", "NO", "ONE")

    def swap(self) -> None:
        self.counting, self.other = self.other, self.counting


@dataclass
class Ledger:
    """What the clients saw: statuses by institution, calls decided, and what befell."""

    told: dict[int, Counter[int]] = field(
        default_factory=lambda: defaultdict(Counter[int])
    )
    lost: int = 0
    calls: int = 0
    befell: Counter[str] = field(default_factory=Counter)


def request_of(caller: Caller, nik: str) -> bytes:
    body = json.dumps(
        {"nik": nik, "purpose": "treatment", "claims": {"birth_date": "1801-01-01"}}
    ).encode()
    head = (
        "POST /v1/verify HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {caller.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def keep_asking(
    port: int,
    requests: list[tuple[int, bytes]],
    ledger: Ledger,
    over: Callable[[], bool],
    chance: random.Random,
) -> None:
    while not over():
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            while not over():
                institution, request = chance.choice(requests)
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                assert found is not None, head
                await reader.readexactly(int(found[1]))
                status = int(head[9:12])
                ledger.told[institution][status] += 1
                if status == UNDECIDED:
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    ledger.calls += 1
        except (OSError, asyncio.IncompleteReadError):
            ledger.lost += 1
        finally:
            writer.transport.abort()


class Campaign:
    def __init__(self, service: Service, pair: Pair, switch: Passage) -> None:
        self.service = service
        self.pair = pair
        self.switch = switch
        self.ledger = Ledger()

    async def befall(self, kind: str, chance: random.Random) -> None:
        # What came of the one before is over.
        await redis_counts(self.service.environment["GATEWAY_POSTGRES_DSN"])
        await asyncio.sleep(chance.uniform(0.5, 2))
        self.ledger.befell[kind] += 1
        server = self.pair.counting
        if kind == "emptied":
            await asyncio.to_thread(
                self.pair.ask, server, self.pair.password, "FLUSHALL"
            )
        elif kind == "failed over":
            await self._fail_over()
        else:
            await self._away(server, kind, chance.uniform(*AWAY_SECONDS))

    async def _away(self, server: ValkeyServer, kind: str, seconds: float) -> None:
        assert server.pid is not None
        process = psutil.Process(server.pid)
        if kind == "hung":
            process.suspend()
            await asyncio.sleep(seconds)
            process.resume()
            return
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.pair.start, server)

    async def _fail_over(self) -> None:
        pair = self.pair
        await asyncio.to_thread(pair.follow)
        await asyncio.to_thread(pair.promote)
        # Counted by the one alone.
        await asyncio.sleep(UNFOLLOWED_SECONDS)
        await asyncio.to_thread(pair.counting.kill)
        pair.swap()
        self.switch.lead(pair.counting.port)
        await asyncio.to_thread(pair.start, pair.other)

    async def run(self, calls: int, each: int, seed: int) -> list[Caller]:
        chance = random.Random(seed)  # noqa: S311 - a plan, no secret
        terms = terms_for(calls)
        callers = await self.service.make_callers(*({"limits": one} for one in terms))
        nik = nik_of(self.service.residents[3])
        requests = [(one.institution, request_of(one, nik)) for one in callers]
        plan = list(KINDS) * each
        chance.shuffle(plan)
        ended = asyncio.Event()

        def over() -> bool:
            return ended.is_set() and self.ledger.calls >= calls

        async with asyncio.TaskGroup() as tasks:
            port = self.service.gateway.port
            for _ in range(CONNECTIONS):
                own = random.Random(chance.random())  # noqa: S311 - a plan, no secret
                tasks.create_task(keep_asking(port, requests, self.ledger, over, own))
            for number, kind in enumerate(plan):
                while self.ledger.calls < calls * number // len(plan):  # noqa: ASYNC110 - no event counts calls
                    await asyncio.sleep(0.1)
                await self.befall(kind, chance)
                console.print(f"{self.ledger.calls:>9} {kind}")
            await redis_counts(self.service.environment["GATEWAY_POSTGRES_DSN"])
            ended.set()
        return callers

    async def judge(self, callers: list[Caller], calls: int) -> list[str]:
        """What is not as promised."""
        faults = []
        told = self.ledger.told
        instants = await self._charged()
        for caller, term in zip(callers, terms_for(calls), strict=True):
            institution = caller.institution
            statuses, at = told[institution], instants.get(institution, [])
            allowed = {200, 503} | (set() if term is FREE else {429})
            if not statuses.keys() <= allowed:
                faults.append(f"institution {institution} was told {statuses}")
            if len(at) != statuses[200]:
                faults.append(
                    f"institution {institution}: {statuses[200]} answers,"
                    f" {len(at)} charged"
                )
            if term["day"] < FREE["day"] and len(at) != term["day"]:
                faults.append(f"institution {institution}: {len(at)} of a day's quota")
            if not keeps_to_rate(at, Limits(**term)):
                faults.append(f"institution {institution} was admitted beyond its rate")
        if self.ledger.lost:
            faults.append(f"{self.ledger.lost} connections were lost")
        return faults + await self._counters()

    async def _charged(self) -> dict[int, list[int]]:
        auditor = await asyncpg.connect(self.service.auditor_dsn, command_timeout=600)
        rows = await auditor.fetch(
            "SELECT institution, (extract(epoch FROM at) * 1000000)::bigint AS at"
            " FROM entries WHERE outcome::integer IN (1, 2, 3, 4) ORDER BY at"
        )
        await auditor.close()
        found: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            found[row["institution"]].append(row["at"])
        return found

    async def _counters(self) -> list[str]:
        url = f"redis://:{self.pair.password}@{HOST}:{self.pair.counting.port}/0"
        faults = []
        dsn = self.service.auditor_dsn
        async with (
            open_server(url) as client,
            pool(dsn, name="test", size=1, statement_seconds=60) as auditor,
        ):
            compared = await reconcile(client, auditor, Charges(auditor))
            faults += [f"counters differ: {one}" for one in compared.differences]
            async for key in client.scan_iter(count=1000):
                if await client.ttl(key) < 0:
                    faults.append(f"{key!r} has no end")
        return faults


async def campaign(
    folder: Path, *, calls: int, each: int, seed: int
) -> tuple[Ledger, list[str]]:
    pair = Pair(folder / "pair")
    (folder / "pair").mkdir()
    with pair.running():
        async with Passage(pair.counting.port).open() as switch:
            url = f"redis://:{pair.password}@{HOST}:{switch.port}/0"
            async with running(
                folder / "service", residents=1000, newcomers=1, redis_url=url
            ) as service:
                one = Campaign(service, pair, switch)
                callers = await one.run(calls, each, seed)
                # What the last fault left is over, and every entry committed.
                await asyncio.sleep(3)
                return one.ledger, await one.judge(callers, calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=10, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        (Path(folder) / "service").mkdir()
        ledger, faults = asyncio.run(campaign(Path(folder), **vars(arguments)))
    statuses = sum(ledger.told.values(), Counter())
    told = {str(status): count for status, count in sorted(statuses.items())}
    seconds = round(time.monotonic() - began)
    document = {
        "calls": ledger.calls,
        "seed": arguments.seed,
        "seconds": seconds,
        "told": told,
        "befell": ledger.befell,
        "faults": faults,
    }
    sys.stdout.write(json.dumps(document) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

"""Several witnesses come to cosign the same heads, though a head lasts half a second."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from gateway.audit import courier as couriers
from gateway.audit import tree
from gateway.audit.cosignature import Cosigner
from gateway.audit.courier import Courier, KnownWitness, Outcome
from tests.conftest import Database
from tests.integration.witnesses import WatchedLog

WITNESSES = [
    Cosigner(f"witness.example/{name}", bytes([number]) * 32)
    for number, name in enumerate("abc", start=1)
]


@pytest.fixture
def log(database: Database) -> WatchedLog:
    return WatchedLog(database)


class Willing(httpx.AsyncClient):
    """Goes to no network: each witness cosigns whatever it is brought."""

    def __init__(self, **_: object) -> None:
        super().__init__(transport=httpx.MockTransport(self.answer))

    @staticmethod
    def answer(request: httpx.Request) -> httpx.Response:
        note = request.content.decode().split("\n\n", 1)[1]
        text = note.rpartition("\n\n")[0] + "\n"
        (witness,) = [
            one for one in WITNESSES if one.key.name.endswith(request.url.host)
        ]
        line = f"{witness.cosign(text, 1_800_000_000)}\n"
        return httpx.Response(200, stream=httpx.ByteStream(line.encode()))


@asynccontextmanager
async def carrying(log: WatchedLog) -> AsyncIterator[None]:
    """A courier for each witness, begun at different moments."""
    links = [log.link("courier") for _ in WITNESSES]
    async with asyncio.TaskGroup() as tasks:
        running = []
        for link, witness in zip(links, WITNESSES, strict=True):
            host = witness.key.name[-1]
            known = KnownWitness(f"http://{host}", witness.key)
            running.append(tasks.create_task(Courier(link, known).run()))
            await asyncio.sleep(0.05)
        yield
        for task in running:
            task.cancel()
    for link in links:
        link.drop()


async def test_heads_that_come_faster_than_they_are_carried_get_every_cosignature(
    log: WatchedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a busy machine takes for a head, which come for several times as long.
    monkeypatch.setattr(couriers, "SPACING_SECONDS", 0.4)
    monkeypatch.setattr(couriers, "PAUSE", 0.02)
    monkeypatch.setattr("httpx.AsyncClient", Willing)
    await log.write(1)
    await log.seal()
    async with carrying(log):
        heads, ends = 0, time.monotonic() + 2.5
        while heads < 25 or time.monotonic() < ends:
            heads += 1
            await log.write(1)
            await log.seal()
            await asyncio.sleep(0.02)
    connection = await asyncpg.connect(log.dsn)
    sizes = Counter(await _sizes(connection))
    full = [size for size, witnesses in sizes.items() if witnesses == len(WITNESSES)]
    newest = await tree.head(connection)
    cosigned = await tree.head(connection, len(WITNESSES))
    await connection.close()
    assert newest is not None
    assert len(sizes) < newest.size
    # All but those of the beginning, and of the end whose followers were on their way.
    assert len(full) >= 3
    assert len(full) >= len(sizes) - 4
    assert cosigned is not None
    assert cosigned.size == max(full)
    assert all(witness.key.verifies(cosigned.note) for witness in WITNESSES)


async def _sizes(connection: asyncpg.Connection) -> list[int]:
    rows = await connection.fetch("SELECT size FROM cosignatures")
    return [row["size"] for row in rows]


async def test_a_cosignature_of_a_text_that_only_begins_with_the_head_is_none(
    log: WatchedLog,
) -> None:
    await log.write(5)
    head = await log.seal()
    witness, more = WITNESSES[0], "more\n"
    answer = f"{more}\n{witness.cosign(head.note + more, 1)}\n"
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(
            lambda _: httpx.Response(200, stream=httpx.ByteStream(answer.encode()))
        )
    )
    link = log.link("courier")
    carrying = Courier(link, KnownWitness("http://a", witness.key))
    async with link.connection() as connection, client:
        assert await carrying.carry(connection, client, head) is Outcome.FAILED
    link.drop()
    assert not await log.cosignatures()

"""A job while it comes in: it counts for as long as somebody receives it, and no longer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from gateway.audit.access import Access
from gateway.batching import Item
from gateway.calls import Call
from gateway.jobs.desk import Jobs, Upload
from gateway.jobs.store import SQL
from gateway.jobs.vault import Vault
from gateway.postgres import Connection
from gateway.vocabulary import Operation
from tests.conftest import Database
from tests.integration.desks import HOME, SECRETS, SITI, opened_desk
from tests.integration.test_jobs import INSTITUTION, KEY, VERIFY, begin, store

pytestmark = pytest.mark.integration

ALIVE = 0.6


async def may_begin(hot: Connection, institution: int, most: int) -> bool:
    begun = await hot.fetch(
        *(SQL["begin"], uuid4(), institution, KEY, None, VERIFY, "kyc", 1),
        *("receiving", 60, most),
    )
    return bool(begun)


async def test_what_nobody_receives_any_more_takes_no_place(hot: Connection) -> None:
    job = await begin(hot)
    assert not await may_begin(hot, INSTITUTION, 1)
    # Its worker died, or could not drop it: since then nobody has said that it goes on.
    await hot.execute(SQL["still_receiving"], job, -1)
    assert await may_begin(hot, INSTITUTION, 1)
    assert not await may_begin(hot, INSTITUTION, 1)


async def test_an_upload_that_takes_long_keeps_its_place(
    database: Database,
    redis: Redis,
    admin: Connection,
    superuser: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.jobs.desk.ALIVE_SECONDS", ALIVE)
    places: list[bool] = []

    async def slowly() -> AsyncIterator[Sequence[Item]]:
        for number in range(4):
            yield [Item(f"n{number}", SITI, ("name",), {"name": "X"})]
            await asyncio.sleep(ALIVE)
            places.append(await may_begin(superuser, desk.institution, 1))

    async def read() -> Upload:
        await asyncio.sleep(0)
        return Upload("verify", "kyc", slowly())

    async with (
        opened_desk(database, admin, superuser, redis) as desk,
        store(database) as held,
        asyncio.TaskGroup() as tasks,
    ):
        await desk.lookups.directory.refresh()
        jobs = Jobs(desk.lookups, held, Vault(SECRETS), tasks)
        access = Access(Operation.JOB_SUBMIT, HOME)
        job = await jobs.submit(Call(access, desk.key, read))
        assert (job.status, job.items) == ("queued", 4)
        assert places == [False] * 4

"""Locks that searches through the whole log take, and whether the server has as many."""

import time

import pytest

from gateway.audit import inspection
from gateway.audit.batch import SQL as AUDIT_SQL
from gateway.audit.inspection import Criteria
from gateway.audit.subject import Subject
from gateway.clock import SECOND
from gateway.doctor import upkeep
from gateway.doctor.database import SQL
from gateway.postgres import Connection

pytestmark = pytest.mark.integration
DAY = 86_400 * SECOND


async def test_days_whose_searches_take_more_locks_than_there_are_are_warned_of(
    hot: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await hot.fetchval(SQL["room_for_locks"])
    days = len(await hot.fetch(AUDIT_SQL["partitions"]))
    monkeypatch.setattr(upkeep, "SEARCHES", 1)
    for each, warned in ((room // days, []), (room // days + 1, ["locks"])):
        monkeypatch.setattr(upkeep, "LOCKS_A_DAY", each)
        assert [one.check for one in await upkeep._partitions(hot)] == warned


async def test_a_search_takes_no_more_locks_of_a_day_than_is_reckoned(
    superuser: Connection,
) -> None:
    criteria = Criteria(subjects=[Subject(1, 1, 1)])
    now = time.time_ns() // 1000
    span = (now - 10 * DAY, now + 10 * DAY)
    async with superuser.transaction():
        days = len(await superuser.fetch(AUDIT_SQL["partitions"]))
        await superuser.fetch(*inspection._asked("page", criteria, span, None, 50))
        locks = await superuser.fetchval(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND relation::regclass::text ~ '^(entries|batches)_'"
        )
    assert days < locks <= days * upkeep.LOCKS_A_DAY

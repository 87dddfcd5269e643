"""A search for what is seldom in the log does not read it back to its beginning."""

import time
from typing import Any

import pytest

from gateway.audit import inspection
from gateway.audit.inspection import Criteria
from gateway.clock import SECOND
from gateway.postgres import Connection
from gateway.vocabulary import Actor, Operation, Outcome

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"actor": Actor.ADMIN}, "entries_of_no_institution"),
        ({"actor": Actor.UNIDENTIFIED}, "entries_of_no_institution"),
        ({"key": 1, "outside": True}, "entries_of_no_institution"),
        ({"operation": Operation.KEY_REVOKE}, "entries_of_other_operations"),
        ({"operation": Operation.RECEIPT}, "entries_of_other_operations"),
        ({"outcome": Outcome.FAILED}, "entries_that_failed"),
    ],
)
async def test_what_is_seldom_is_looked_for_in_an_index_of_its_own(
    superuser: Connection, asked: dict[str, Any], index: str
) -> None:
    criteria, now = Criteria(**asked), time.time_ns() // 1000
    assert criteria.seldom
    span = (now - 3600 * SECOND, now)
    query, *arguments = inspection._asked("page", criteria, span, None, 50)
    async with superuser.transaction():
        # So small a log is read faster without any.
        await superuser.execute("SET LOCAL enable_seqscan = off")
        await superuser.execute("SET LOCAL enable_bitmapscan = off")
        plan = await superuser.fetch(f"EXPLAIN {query}", *arguments)
    parts = await superuser.fetch(
        "SELECT relid::regclass::text AS name"
        " FROM pg_partition_tree($1::text::regclass)",
        index,
    )
    told = "\n".join(line[0] for line in plan)
    assert any(f"using {part['name']} on entries_" in told for part in parts), told


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"operation": Operation.VERIFY},
        {"outcome": Outcome.REFUSED, "actor": Actor.INSTITUTION},
    ],
)
def test_what_the_log_is_full_of_is_looked_for_in_spans(asked: dict[str, Any]) -> None:
    assert not Criteria(**asked).seldom

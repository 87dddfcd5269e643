"""When a key was last used is known without reading the log."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.audit.entry import Entry
from gateway.clock import SECOND, from_datetime
from gateway.partners.listing import list_keys
from gateway.postgres import Connection
from gateway.problems import Unauthenticated
from gateway.vocabulary import Outcome, Reason
from tests.conftest import Database
from tests.integration import logs

pytestmark = pytest.mark.integration

NOON = from_datetime(datetime(2026, 11, 20, 5, tzinfo=UTC))
MINUTE = 60 * SECOND


async def known_after(
    database: Database, hot: Connection, admin: Connection, entry: Entry
) -> int | None:
    """What is known of the key once this is entered, sealed and counted."""
    await logs.write(hot, [entry])
    await logs.seal(database)
    await logs.roll_up(database)
    (key,) = await list_keys(admin, only=logs.KEY.id)
    return key.last_used_at


async def test_a_keys_last_use_is_known_to_the_minute_and_never_goes_back(
    database: Database, hot: Connection, admin: Connection, superuser: Connection
) -> None:
    await logs.make_key(superuser)
    (unused,) = await list_keys(admin, only=logs.KEY.id)
    assert unused.last_used_at is None
    for at, known in (
        (NOON, NOON),
        (NOON + MINUTE - 1, NOON),
        (NOON + MINUTE, NOON + MINUTE),
        (NOON - 60 * MINUTE, NOON + MINUTE),
    ):
        entry = logs.answer(at, 1)
        assert await known_after(database, hot, admin, entry) == known


async def test_who_did_not_prove_to_have_a_key_has_not_used_it(
    database: Database, hot: Connection, admin: Connection, superuser: Connection
) -> None:
    await logs.make_key(superuser)
    entry = replace(logs.refusal(NOON), key=logs.KEY, reason=Unauthenticated.reason)
    assert await known_after(database, hot, admin, entry) is None
    failed = replace(logs.answer(NOON, 1), outcome=Outcome.FAILED)
    failed = replace(failed, reason=Reason.REGISTRY_UNAVAILABLE)
    assert await known_after(database, hot, admin, failed) == NOON

"""A worker's copy of who may call: how it stays current."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from gateway.clock import SECOND, ServerClock
from gateway.partners import directory as directory_module
from gateway.partners import keeping
from gateway.partners.directory import Directory
from gateway.postgres import Connection
from gateway.problems import ReducedCapacity, Unauthenticated
from tests.conftest import Database
from tests.integration.directories import (
    KYC,
    LATER,
    LIMITS,
    NOW,
    PEPPERS,
    link,
    make_key,
    opened,
)


@asynccontextmanager
async def watched(directory: Directory) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(directory.watch())
        await asyncio.sleep(0.2)
        yield
        watching.cancel()


async def seconds_until(condition: Callable[[], bool]) -> float:
    begun = time.monotonic()
    while not condition() and time.monotonic() - begun < 5:  # noqa: ASYNC110 - no event says what a caller would be told
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def is_dead(directory: Directory, text: str) -> Callable[[], bool]:
    def check() -> bool:
        try:
            directory.identify(text, NOW)
        except Unauthenticated:
            return True
        return False

    return check


async def test_changed_terms_count_and_what_did_not_change_stays_the_same_object(
    database: Database, admin: Connection
) -> None:
    bank = await keeping.create_institution(admin, "Bank Contoh")
    clinic = await keeping.create_institution(admin, "Klinik Contoh")
    bank_terms, _ = [
        await keeping.create_agreement(
            admin, holder, from_at=NOW, to_at=LATER, grants=[KYC], limits=LIMITS
        )
        for holder in (bank, clinic)
    ]
    async with opened(database) as directory:
        neighbour = directory.institution(clinic)
        wider = KYC | {"fields": ["name", "kk"]}
        await keeping.change_agreement(
            admin, bank_terms, limits={"day": 20}, grants=[wider], status="suspended"
        )
        await directory.refresh()
        institution = directory.institution(bank)
        assert institution is not None
        (agreement,) = institution.agreements
        assert (agreement.limits.day, agreement.status) == (20, "suspended")
        assert agreement.grants["kyc"].fields == ("kk", "name")
        assert directory.institution(clinic) is neighbour


async def test_a_second_agreement_joins_the_first(
    database: Database, admin: Connection
) -> None:
    bank = await keeping.create_institution(admin, "Bank Contoh")
    async with opened(database) as directory:
        for begins in (NOW, NOW + 1):
            await keeping.create_agreement(
                admin, bank, from_at=begins, to_at=LATER, grants=[KYC], limits=LIMITS
            )
            await directory.refresh()
        await admin.execute("UPDATE institutions SET name = 'Bank Baru'")
        await directory.refresh()
        institution = directory.institution(bank)
        assert institution is not None
        assert institution.name == "Bank Baru"
        begun = [agreement.from_at for agreement in institution.agreements]
        assert begun == [NOW, NOW + 1]


async def test_a_change_that_commits_after_a_later_look_is_not_missed(
    database: Database, admin: Connection
) -> None:
    async with opened(database) as directory:
        transaction = admin.transaction()
        await transaction.start()
        made = await make_key(admin)
        await directory.refresh()
        assert directory.key_named(made.id) is None
        await transaction.commit()
        await directory.refresh()
        assert directory.key_named(made.id) is not None


async def test_a_revocation_counts_within_a_second_although_its_notify_is_lost(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    elsewhere = database.server.dsn()
    async with opened(database, listen_to=elsewhere) as directory, watched(directory):
        directory.identify(made.text, NOW)
        await keeping.revoke_key(admin, made.id)
        assert await seconds_until(is_dead(directory, made.text)) < 1


async def test_a_notify_is_heard_before_the_next_poll(
    database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "POLL_SECONDS", 60)
    made = await make_key(admin)
    async with opened(database) as directory, watched(directory):
        await keeping.revoke_key(admin, made.id)
        assert await seconds_until(is_dead(directory, made.text)) < 0.3


async def test_a_listening_connection_that_ended_is_made_again(
    database: Database,
    admin: Connection,
    superuser: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory_module, "POLL_SECONDS", 60)
    made = await make_key(admin)
    async with opened(database) as directory, watched(directory):
        await end_connections(superuser, "gateway-listener")
        await keeping.revoke_key(admin, made.id)
        assert await seconds_until(is_dead(directory, made.text)) < 2


async def test_a_revocation_counts_within_a_second_although_all_connections_ended(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory, watched(directory):
        await end_connections(superuser, "gateway-directory")
        await end_connections(superuser, "gateway-listener")
        await keeping.revoke_key(admin, made.id)
        assert await seconds_until(is_dead(directory, made.text)) < 1


async def test_a_refresh_makes_a_dead_connection_again_at_once(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    async with opened(database) as directory:
        made = await make_key(admin)
        await end_connections(superuser, "gateway-directory")
        await directory.refresh()
        assert directory.key_named(made.id) is not None


async def test_a_failover_that_lost_versions_is_seen_by_the_lower_version(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        await forget(superuser, made.number)
        await superuser.execute("UPDATE directory_version SET version = version - 1")
        await directory.refresh()
        assert directory.key_named(made.id) is None


async def test_of_another_server_everything_is_read_again(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        await forget(superuser, made.number)
        await directory.refresh()
        assert directory.key_named(made.id) is not None
        directory._server_started = 0
        await directory.refresh()
        assert directory.key_named(made.id) is None


async def test_before_the_first_load_nobody_is_judged(database: Database) -> None:
    dsn = database.dsn("hot")
    directory = Directory(link(dsn), link(dsn), PEPPERS, ServerClock())
    with pytest.raises(ReducedCapacity):
        directory.check_fresh()


async def test_a_copy_not_known_to_be_current_for_five_seconds_judges_nobody(
    database: Database,
) -> None:
    async with opened(database) as directory:
        directory._current_at -= 4.5
        directory.check_fresh()
        directory._current_at -= 0.6
        with pytest.raises(ReducedCapacity):
            directory.check_fresh()
        await directory.refresh()
        directory.check_fresh()


async def test_a_refresh_that_fails_leaves_the_copy_to_grow_old(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        known_at = directory._current_at
        await superuser.execute("REVOKE SELECT ON directory_version FROM gateway_hot")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await directory.refresh()
        assert directory._current_at == known_at
        assert directory.identify(made.text, NOW).number == made.number


async def test_every_question_tells_the_clock(database: Database) -> None:
    clock = ServerClock()
    poll = link(database.dsn("hot"))
    await Directory(poll, poll, PEPPERS, clock).refresh()
    poll.drop()
    assert abs(clock.now() - time.time_ns() // 1000) < SECOND


@pytest.mark.slow
async def test_a_country_of_institutions_loads_in_two_seconds(
    database: Database, admin: Connection, superuser: Connection
) -> None:
    await populate(superuser, 6_668)
    begun = time.monotonic()
    async with opened(database) as directory:
        assert time.monotonic() - begun < 2
        institution = directory.institution(6_668)
        assert institution is not None
        assert len(institution.agreements[0].grants) == 2
        made = await make_key(admin)
        begun = time.monotonic()
        await directory.refresh()
        assert directory.key_named(made.id) is not None
        assert time.monotonic() - begun < 0.1


async def end_connections(superuser: Connection, name: str) -> None:
    ended = await superuser.fetch(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
        " WHERE application_name = $1 AND datname = current_database()",
        name,
    )
    assert ended


async def forget(superuser: Connection, number: int) -> None:
    """As a failover to a standby that had not received it would."""
    await superuser.execute("DELETE FROM keys WHERE number = $1", number)


async def populate(superuser: Connection, institutions: int) -> None:
    """Institutions with an agreement, two grants and two keys each, all versioned."""
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(
        f"""
        INSERT INTO institutions (id, name, version)
        SELECT n, 'Lembaga ' || n, n FROM generate_series(1, {institutions}) AS n;
        INSERT INTO agreements
            (id, institution, from_at, to_at, rate, burst, day, month, version)
        SELECT n, n, '2026-01-01', '2027-01-01', 50, 100, 10000, 200000, n
        FROM generate_series(1, {institutions}) AS n;
        INSERT INTO grants (agreement, purpose, operations, fields)
        SELECT n, purpose, 1 + n % 7, 1 + n
        FROM generate_series(1, {institutions}) AS n, generate_series(1, 2) AS purpose;
        INSERT INTO keys (id, digest, pepper, institution, version)
        SELECT lpad((2 * n + m)::text, 8, '0'), sha256(n::text::bytea), 2, n, n
        FROM generate_series(1, {institutions}) AS n, generate_series(0, 1) AS m;
        SELECT setval('institutions_id_seq', {institutions});
        UPDATE directory_version SET version = {institutions};
        ANALYZE
        """
    )
    await superuser.execute("SET session_replication_role = origin")

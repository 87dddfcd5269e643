"""`gateway quota rehearse`: the log's own calls, all of them and in order, tried again."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.audit import admissions
from gateway.audit.admissions import Admissions
from gateway.audit.entry import Entry
from gateway.clock import SECOND, from_datetime, to_text
from gateway.partners import keeping
from gateway.postgres import Connection
from gateway.problems import QuotaExceeded
from gateway.vocabulary import Operation, Outcome, Reason
from tests.conftest import Database
from tests.integration import logs
from tests.integration.commanding import CommandLine, Ended
from tests.integration.desks import GRANT, YEAR, Desk, now, opened_desk

pytestmark = pytest.mark.integration

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
# Noon in Jakarta, on the last day but one of a month.
NOON = from_datetime(datetime(2026, 10, 30, 5, tzinfo=UTC))
BANK, OTHER = 1, 2
AGREED = {"rate": 5, "burst": 10, "day": 20, "month": 30}


def asked(entry: Entry) -> tuple[int, int, int] | None:
    """What an entry says was asked of the limits; None if it never came to them."""
    own_account = entry.operation in (Operation.ACCOUNT, Operation.RECEIPT)
    if entry.institution != BANK:
        return None
    if entry.outcome in logs.ANSWERS:
        return entry.at, int(entry.replay_of is None), 1
    if entry.outcome is Outcome.DONE:
        return entry.at, 0, 1
    if entry.reason is Reason.QUOTA_EXCEEDED:
        return entry.at, int(not own_account), entry.count
    if entry.reason is Reason.NOT_FOUND and own_account:
        return entry.at, 0, 1
    return None


def any_entry(chance: random.Random, at: int) -> Entry:
    """Every kind of entry that an institution can have."""
    whose = chance.choice((BANK, BANK, BANK, OTHER))
    lookup = logs.answer(at, whose, chance.choice(logs.ANSWERS))
    refused = logs.refusal(at, whose, chance.choice((1, 40)))
    return chance.choice(
        (
            lookup,
            lookup,
            replace(lookup, replay_of=UUID(int=chance.getrandbits(128))),
            refused,
            replace(refused, operation=Operation.ACCOUNT),
            replace(refused, operation=None),
            replace(refused, reason=Reason.NOT_GRANTED, count=1),
            replace(refused, reason=Reason.INVALID_REQUEST),
            replace(
                logs.refusal(at, whose),
                operation=Operation.RECEIPT,
                reason=Reason.NOT_FOUND,
            ),
            replace(lookup, outcome=Outcome.FAILED, reason=Reason.REGISTRY_UNAVAILABLE),
            replace(lookup, outcome=Outcome.DONE, operation=Operation.ACCOUNT),
        )
    )


async def write_in_any_order(hot: Connection, seed: int) -> list[Entry]:
    """Batches over three days, their first entries up to 49 s older than their last."""
    chance = random.Random(seed)  # noqa: S311 - the same log at every run
    ends = [NOON + n * chance.choice((1, 7 * SECOND, MINUTE, HOUR)) for n in range(72)]
    chance.shuffle(ends)
    written = []
    for end in ends:
        ages = sorted((chance.randrange(49 * SECOND) for _ in range(4)), reverse=True)
        batch = [any_entry(chance, end - age) for age in (*ages, 0)]
        await logs.write(hot, batch)
        written += batch
    return written


def expected(
    entries: Iterable[Entry], from_at: int, to_at: int
) -> list[tuple[int, int, int]]:
    asks = (asked(entry) for entry in entries if from_at <= entry.at < to_at)
    return sorted(ask for ask in asks if ask)


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("auditor"))
    yield connection
    await connection.close()


@pytest.fixture
async def gateway(database: Database, tmp_path: Path) -> CommandLine:
    return CommandLine(database, tmp_path / "no pepper")


@pytest.mark.parametrize("at_once", [1, 7, 20_000])
async def test_every_ask_of_the_institution_is_read_once_in_the_order_of_its_instant(
    auditor: Connection,
    superuser: Connection,
    hot: Connection,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(admissions, "AT_ONCE", at_once)
    await logs.make_key(superuser)
    written = await write_in_any_order(hot, seed=at_once)
    read = Admissions(auditor, BANK)
    assert await read.extent(0, None) is not None
    for from_at, to_at in (
        (NOON - DAY, NOON + 4 * DAY),
        (NOON + 10 * MINUTE + 1, NOON + 30 * HOUR),
        (NOON + 5 * SECOND, NOON + 45 * SECOND),
    ):
        pages = [page async for page in read.between(from_at, to_at)]
        assert [ask for page in pages for ask in page] == expected(
            written, from_at, to_at
        )
        charged = sum(
            entry.charged
            for entry in written
            if entry.institution == BANK and from_at <= entry.at < to_at
        )
        assert await read.charged(from_at, to_at) == charged


async def test_no_more_is_held_back_than_a_minutes_calls(
    auditor: Connection,
    superuser: Connection,
    hot: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "AT_ONCE", 10)
    await logs.make_key(superuser)
    for n in range(60):
        await logs.write(hot, [logs.answer(NOON + n * 10 * SECOND, BANK)] * 3)
    read = Admissions(auditor, BANK)
    pages = [page async for page in read.between(NOON, NOON + HOUR)]
    assert sum(map(len, pages)) == 180
    # Ten minutes: a minute of them waits, and a page comes on top.
    assert max(map(len, pages)) <= 3 * 9 + 12


async def test_a_log_that_has_nothing_of_that_time_says_so(
    auditor: Connection, gateway: CommandLine, admin: Connection
) -> None:
    assert await Admissions(auditor, BANK).extent(0, None) is None
    await make_bank(admin, **AGREED)
    ended = await rehearse(gateway, "--since", "9999-12-31")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "The log holds no entries of that time.\n"


async def make_bank(admin: Connection, **limits: int) -> None:
    """The institution with the id 1, under an agreement if there are limits."""
    assert await keeping.create_institution(admin, "Bank Contoh") == BANK
    if limits:
        span = {"from_at": NOON - YEAR, "to_at": NOON + 9 * YEAR}
        await keeping.create_agreement(
            admin, BANK, **span, grants=[GRANT], limits=limits
        )


async def make_keys(superuser: Connection) -> None:
    await superuser.execute(
        "INSERT INTO keys (number, id, institution, digest, pepper)"
        " VALUES ($1, $2, 1, sha256(''), 1)",
        *logs.KEY,
    )


async def rehearse(gateway: CommandLine, *words: str) -> Ended:
    return await gateway.run(
        *("quota", "rehearse", "--institution", "1", *words),
        GATEWAY_AUDITOR_DSN=gateway.database.dsn("auditor"),
    )


@pytest.fixture
async def three_days(admin: Connection, superuser: Connection, hot: Connection) -> None:
    """Twelve lookups a minute apart on the 30th, 31st and 1st; 25 at once on the 30th."""
    await make_bank(admin, **AGREED)
    await make_keys(superuser)
    for day in range(3):
        for n in range(12):
            await logs.write(hot, [logs.answer(NOON + day * DAY + n * MINUTE, BANK)])
    await logs.write(hot, [logs.answer(NOON + HOUR, BANK)] * 25)
    await logs.write(hot, [logs.refusal(NOON + 2 * DAY, OTHER)])


@pytest.mark.usefixtures("three_days")
async def test_it_tells_what_would_have_been_refused_when_and_what_were_enough(
    gateway: CommandLine,
) -> None:
    told = await rehearse(gateway, "--since", "2026-10-30", "--day", "30", "--json")
    assert told.err == ""
    document = told.document
    # On the 30th ten of the 25 pass, then the month has 8 left, and the 1st is another.
    assert document == {
        "institution": BANK,
        "from": to_text(NOON - MINUTE),
        "to": to_text(NOON + 2 * DAY + 11 * MINUTE + 2000),
        "limits": AGREED | {"day": 30},
        "calls": 61,
        "admitted": 42,
        "refused": 19,
        "refused_by": {"rate": 15, "day": 0, "month": 4},
        "first_refusal": to_text(NOON + HOUR),
        "last_refusal": to_text(NOON + DAY + 11 * MINUTE),
        "busiest_second": {"from": to_text(NOON + HOUR), "calls": 25},
        "busiest_minute": {"from": to_text(NOON + HOUR), "calls": 25},
        "enough": {"rate": 5, "burst": 25, "day": 37, "month": 49},
        "days": [
            {
                "day": "2026-10-30",
                "calls": 37,
                "admitted": 22,
                "refused": 15,
                "units": 37,
            },
            {
                "day": "2026-10-31",
                "calls": 12,
                "admitted": 8,
                "refused": 4,
                "units": 12,
            },
            {
                "day": "2026-11-01",
                "calls": 12,
                "admitted": 12,
                "refused": 0,
                "units": 12,
            },
        ],
    }
    enough = [
        word
        for n in ("burst", "day", "month")
        for word in (f"--{n}", str(document["enough"][n]))
    ]
    again = await rehearse(gateway, "--since", "2026-10-30", *enough, "--json")
    assert again.document["refused"] == 0


@pytest.mark.usefixtures("three_days")
async def test_the_first_day_and_month_begin_with_what_was_used_before(
    gateway: CommandLine,
) -> None:
    since = to_text(NOON + DAY + 6 * MINUTE)
    until = to_text(NOON + 2 * DAY)
    told = await rehearse(
        gateway, *("--since", since, "--until", until, "--month", "45", "--json")
    )
    # 37 and 6 are used of the month, 6 of the day: 2 are left, and 6 are asked for.
    document = told.document
    assert (document["from"], document["to"]) == (since, until)
    assert (document["admitted"], document["refused"]) == (2, 4)
    assert document["refused_by"] == {"rate": 0, "day": 0, "month": 4}
    assert document["enough"] == {"rate": 5, "burst": 1, "day": 12, "month": 49}


@pytest.mark.usefixtures("three_days")
async def test_people_are_told_the_same_in_words(gateway: CommandLine) -> None:
    told = await rehearse(gateway, "--since", "2026-10-30", "--day", "30")
    assert told.code == 0
    for words in (
        "│ 2026-10-30 │ 37 ",
        "Tried    rate 5, burst 10, day 30, month 30",
        "Calls    61, of which 19 would have been refused",
        "         15 by the rate",
        "Refused  from 2026-10-30T13:00:00+07:00 to 2026-10-31T12:11:00+07:00",
        "Busiest  second 2026-10-30T13:00:00+07:00: 25 calls",
        "Enough   rate 5, burst 25, day 37, month 49",
    ):
        assert words in told.out


@pytest.mark.usefixtures("three_days")
async def test_it_leaves_no_entry(gateway: CommandLine, superuser: Connection) -> None:
    before = await superuser.fetchval("SELECT count(*) FROM entries")
    assert (await rehearse(gateway, "--since", "2026-10-30")).code == 0
    assert await superuser.fetchval("SELECT count(*) FROM entries") == before


async def test_under_the_limits_that_were_its_own_it_refuses_what_was_refused(
    gateway: CommandLine,
    database: Database,
    redis: Redis,
    admin: Connection,
    superuser: Connection,
) -> None:
    async with opened_desk(database, admin, superuser, redis) as desk:
        await desk.agree(admin, limits={"rate": 1, "burst": 8, "day": 12})
        refused = 0
        for _ in range(2):
            refused += sum(await asyncio.gather(*(is_refused(desk) for _ in range(30))))
            await asyncio.sleep(1.1)
        await desk.lookups.journal.drain_floods()
    since = to_text(now() - MINUTE)
    told = await rehearse(gateway, "--since", since, "--json")
    assert 0 < refused < 60
    assert (told.document["calls"], told.document["refused"]) == (60, refused)
    assert await superuser.fetchval("SELECT max(count) FROM readable_entries") > 1


async def is_refused(desk: Desk) -> bool:
    try:
        await desk.lookups.verify(desk.call())
    except QuotaExceeded:
        return True
    return False


async def test_what_is_wrong_is_said_with_the_exit_code_of_any_command(
    gateway: CommandLine, admin: Connection
) -> None:
    missing = await rehearse(gateway, "--since", "2026-10-30")
    assert (missing.code, missing.err) == (1, "There is no such institution.\n")
    await make_bank(admin)
    since = ("--since", "2026-10-30")
    wrongs: tuple[tuple[tuple[str, ...], str], ...] = (
        (("--since", "yesterday"), "/since: want a time"),
        ((*since, "--until", "2026-10-30"), "/until: must be later"),
        ((*since, "--rate", "5"), "/limits: there is no agreement"),
        (
            (*since, "--rate", "0", "--burst", "1", "--day", "1", "--month", "1"),
            "/limits/rate: must be a whole number",
        ),
    )
    for words, said in wrongs:
        wrong = await rehearse(gateway, *words)
        assert (wrong.code, wrong.out) == (2, "")
        assert wrong.err.startswith(said)
    command = ("quota", "rehearse", "--institution", "1", *since)
    unset = await gateway.run(*command)
    assert (unset.code, "GATEWAY_AUDITOR_DSN is missing" in unset.err) == (78, True)
    nowhere = "postgresql://auditor:hidden@127.0.0.1:1/gateway"
    gone = await gateway.run(*command, GATEWAY_AUDITOR_DSN=nowhere)
    assert (gone.code, "hidden" in gone.err) == (69, False)

"""The auditor's summary equals a count of every entry, wherever each is counted from."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from gateway.audit.entry import Entry
from gateway.audit.rollup import MOST_OF_A_RUN, Rollups
from gateway.audit.summary import By, Row, Summaries
from gateway.clock import SECOND, from_datetime, to_datetime
from gateway.postgres import Connection, Link, Pool, pool
from gateway.vocabulary import CHARGED_OUTCOMES, Outcome
from tests.conftest import Database
from tests.integration import logs

JAKARTA = timezone(timedelta(hours=7))
HOUR = 3600 * SECOND
# Four in the afternoon of Jakarta, so that days turn inside the log.
START = from_datetime(datetime(2026, 11, 20, 9, tzinfo=UTC))
HOURS = 60


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[Pool]:
    async with pool(
        database.dsn("auditor"), name="auditor", size=2, statement_seconds=30
    ) as held:
        yield held


@pytest.fixture
async def sealer(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.dsn("sealer"))
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
async def _key(superuser: Connection) -> None:
    await logs.make_key(superuser)


def rollups(database: Database) -> Rollups:
    return Rollups(Link(database.dsn("sealer"), name="rollups", statement_seconds=30))


def key_of(by: By, entry: Entry) -> int | str | None:
    match by:
        case By.INSTITUTION:
            return entry.institution
        case By.DAY:
            return to_datetime(entry.at).astimezone(JAKARTA).date().isoformat()
        case By.OUTCOME:
            return entry.outcome.word
        case By.PURPOSE:
            return entry.purpose and entry.purpose.name


def counted(
    by: By, entries: Sequence[Entry], from_at: int | None, to_at: int | None
) -> dict[int | str | None, tuple[int, int, int]]:
    """The same, one entry after the other."""
    sums: dict[int | str | None, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if (from_at or 0) <= entry.at < (to_at or 2**63):
            own = sums[key_of(by, entry)]
            own["entries"] += entry.count
            own["charged"] += (
                entry.outcome in CHARGED_OUTCOMES and entry.replay_of is None
            )
            own["refused"] += entry.count if entry.outcome is Outcome.REFUSED else 0
    return {
        key: (own["entries"], own["charged"], own["refused"])
        for key, own in sums.items()
    }


def table(rows: list[Row]) -> dict[int | str | None, tuple[int, int, int]]:
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: (row.entries, row.charged, row.refused) for row in rows}


def windows(chance: random.Random) -> list[tuple[int | None, int | None]]:
    """Open at either end, on hours and midnights, within one hour, and anywhere."""
    midnight = from_datetime(datetime(2026, 11, 21, tzinfo=JAKARTA))
    some = [
        (None, None),
        (midnight, None),
        (None, midnight),
        (midnight, midnight + 24 * HOUR),
        (midnight - HOUR, midnight + 25 * HOUR),
        (START + HOUR // 3, START + HOUR // 2),
        (midnight, midnight),
        (midnight + 1, midnight),
    ]
    for _ in range(12):
        ends = sorted(START + chance.randrange(HOURS * HOUR) for _ in range(2))
        some.append((ends[0], ends[1]))
    return [*some]


async def grow(hot: Connection, chance: random.Random, hours: range) -> list[Entry]:
    """A few batches an hour, some of which have the turn of it within them."""
    written: list[Entry] = []
    for hour in hours:
        for _ in range(2):
            newest = (
                START
                + hour * HOUR
                + chance.choice([10 * SECOND, chance.randrange(HOUR)])
            )
            batch = [
                logs.any_entry(chance, newest - chance.randrange(40 * SECOND))
                for _ in range(chance.randint(1, 30))
            ]
            await logs.write(hot, batch)
            written += batch
    return written


async def check(
    summaries: Summaries, chance: random.Random, entries: list[Entry]
) -> None:
    for from_at, to_at in windows(chance):
        for by in By:
            rows = await summaries.summarise(by, from_at, to_at)
            assert table(rows) == counted(by, entries, from_at, to_at)


@pytest.fixture(params=[7, MOST_OF_A_RUN])
def _at_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """So many batches are read at once of what is not rolled up."""
    for module in ("rollup", "summary"):
        monkeypatch.setattr(f"gateway.audit.{module}.MOST_OF_A_RUN", request.param)


@pytest.mark.usefixtures("_at_once")
async def test_a_summary_is_exact_whatever_is_sealed_and_rolled_up(
    database: Database,
    hot: Connection,
    sealer: Connection,
    auditor: Pool,
) -> None:
    chance = random.Random(2026)  # noqa: S311 - not a secret
    summaries, rolling = Summaries(auditor), rollups(database)
    assert await summaries.summarise(By.INSTITUTION, None, None) == []
    written = await grow(hot, chance, range(30))
    await check(summaries, chance, written)
    await logs.seal(database)
    await check(summaries, chance, written)
    await rolling.step(sealer)
    await check(summaries, chance, written)
    written += await grow(hot, chance, range(30, 50))
    await logs.seal(database)
    written += await grow(hot, chance, range(50, HOURS))
    # Three parts now: rolled up, sealed only, and not even that.
    await check(summaries, chance, written)
    assert await rolling.step(sealer) > 0
    await logs.seal(database)
    assert await rolling.step(sealer) > 0
    assert await rolling.step(sealer) == 0
    await check(summaries, chance, written)


async def test_a_summary_is_exact_while_entries_are_sealed_and_rolled_up(
    database: Database,
    hot: Connection,
    sealer: Connection,
    auditor: Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(3)  # noqa: S311 - not a secret
    written = await grow(hot, chance, range(40))
    expected = counted(By.OUTCOME, written, None, None)
    # A transaction for each, so that there is a great deal to fall between.
    monkeypatch.setattr("gateway.audit.sealer.MOST_BATCHES", 1)
    monkeypatch.setattr("gateway.audit.rollup.MOST_BATCHES", 1)

    async def roll_up() -> None:
        left = 80
        while left:
            left -= await rollups(database).step(sealer)

    async with asyncio.TaskGroup() as tasks:
        moving = [
            tasks.create_task(logs.seal(database)),
            tasks.create_task(roll_up()),
        ]
        asked = 0
        while not all(one.done() for one in moving):
            rows = await Summaries(auditor).summarise(By.OUTCOME, None, None)
            assert table(rows) == expected
            asked += 1
    # On a busy machine few questions fit between the moves.
    assert asked > 1


async def test_a_batch_that_comes_late_is_counted_once_it_is_sealed(
    database: Database,
    hot: Connection,
    sealer: Connection,
    auditor: Pool,
) -> None:
    chance = random.Random(7)  # noqa: S311 - not a secret
    written = await grow(hot, chance, range(20, 30))
    await logs.seal(database)
    await rollups(database).step(sealer)
    written += await grow(hot, chance, range(3))
    await logs.seal(database)
    await check(Summaries(auditor), chance, written)
    await rollups(database).step(sealer)
    await check(Summaries(auditor), chance, written)


async def test_rollups_made_anew_are_what_they_were(
    database: Database, hot: Connection, sealer: Connection, superuser: Connection
) -> None:
    chance = random.Random(11)  # noqa: S311 - not a secret
    rolling = rollups(database)
    for hours in (range(10), range(10, 30)):
        await grow(hot, chance, hours)
        await logs.seal(database)
        await rolling.step(sealer)
    every = "SELECT * FROM rollups ORDER BY hours, since, institution, outcome, purpose"
    kept = await superuser.fetch(every)
    owner = await asyncpg.connect(database.dsn("owner"))
    async with owner.transaction():
        await owner.execute("TRUNCATE rollups")
        await owner.execute("UPDATE rolled_up SET below = 0")
    await owner.close()
    await rolling.step(sealer)
    assert kept
    assert await superuser.fetch(every) == kept


async def test_a_step_that_is_cut_off_counts_nothing(
    database: Database, hot: Connection, sealer: Connection, superuser: Connection
) -> None:
    await logs.write(hot, [logs.answer(START, 1)])
    await logs.seal(database)
    before = await superuser.fetchval("SELECT below FROM rolled_up")
    transaction = sealer.transaction()
    await transaction.start()
    assert await rollups(database).step(sealer) == 1
    await transaction.rollback()
    assert await superuser.fetchval("SELECT below FROM rolled_up") == before
    assert await superuser.fetchval("SELECT count(*) FROM rollups") == 0


async def test_two_who_roll_up_at_once_count_nothing_twice(
    database: Database,
    hot: Connection,
    sealer: Connection,
    auditor: Pool,
) -> None:
    await logs.write(hot, [logs.answer(START, 1)])
    await logs.seal(database)
    other = await asyncpg.connect(database.dsn("sealer"))
    transaction = other.transaction()
    await transaction.start()
    assert await rollups(database).step(other) == 1
    await sealer.execute("SET lock_timeout = '200ms'")
    with pytest.raises(asyncpg.LockNotAvailableError):
        await rollups(database).step(sealer)
    await transaction.commit()
    await other.close()
    assert await rollups(database).step(sealer) == 0
    rows = await Summaries(auditor).summarise(By.OUTCOME, None, None)
    assert rows == [Row("matched", 1, 1, 0)]


@pytest.mark.parametrize("role", ["hot", "admin", "auditor", "registry", "receipts"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rollups SET entries = 1",
        "INSERT INTO rollups VALUES (now(), 1, 1, 1, 1, 1, 1)",
        "DELETE FROM rollups",
        "UPDATE rolled_up SET below = 0",
        "UPDATE key_uses SET last_used_at = now()",
        "INSERT INTO key_uses VALUES (1, now())",
        "DELETE FROM key_uses",
    ],
)
async def test_only_the_sealer_rolls_up(
    database: Database, role: str, statement: str
) -> None:
    connection = await asyncpg.connect(database.dsn(role))
    refusals = (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError)
    with pytest.raises(refusals):
        await connection.execute(statement)
    await connection.close()

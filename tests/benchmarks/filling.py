"""Fills a log as a month of lookups would: who asks and about whom is skewed as it is.

Rows and leaf hashes are made by the gateway's own code and written by COPY, by as many
processes as there are cores; the tree over them is extended and signed in one.
"""

import asyncio
import bisect
import os
import random
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Network
from itertools import accumulate
from typing import Final

import asyncpg

from gateway.audit import tree
from gateway.audit.batch import BatchDigests
from gateway.audit.checkpoint import Checkpoint, Signer
from gateway.audit.entry import (
    Entry,
    KeyName,
    Place,
    PurposeName,
    batch_number,
    leaf_hash,
    line,
    parse_address,
)
from gateway.audit.merkle import Frontier, Node
from gateway.audit.rows import write_entry
from gateway.audit.subject import Subject
from gateway.clock import JAKARTA_OFFSET, SECOND
from gateway.settings import NumberedKeys
from gateway.vocabulary import FIELD_BIT, Actor, Operation, Outcome, Reason

INSTITUTIONS: Final = 6_668
RESIDENTS: Final = 20_000_000
DAYS: Final = 30
DAY: Final = 24 * 3600 * SECOND
ORIGIN: Final = "bench.example/log"
SIGNING_KEY: Final = sha256(b"of benchmarks").digest()
DIGESTS: Final = BatchDigests(NumberedKeys({1: bytes(32)}))
# So many rows are made and sent at once.
CHUNK: Final = 50_000
ENTRY_COLUMNS: Final = [
    *("batch", "position", "at", "actor", "outcome", "address", "operation"),
    *("institution", "key", "purpose", "fields", "subject_head", "subject_tail"),
    *("subject_key", "reason", "reference", "operator", "replay_of"),
]
_PURPOSES: Final = [PurposeName(n, "") for n in range(1, 11)]
_NETWORK: Final = IPv4Network("10.0.0.0/8")
_DIGITS: Final = "0123456789"


@dataclass(frozen=True)
class Month:
    """What is filled in: `rows` entries over DAYS days that end with yesterday."""

    dsn: str
    rows: int
    flush: int
    first_day: int
    purposes: dict[int, str]

    def chunks(self) -> Iterator[tuple[int, int, int, int]]:
        """Number, entries, and from when to when (microseconds), in order of time."""
        count = -(-self.rows // CHUNK)
        length = DAYS * DAY // max(count, 1)
        for n in range(count):
            starts = self.first_day + n * length
            yield n, min(CHUNK, self.rows - n * CHUNK), starts, starts + length


def institution_of(chance: random.Random, weights: list[float]) -> int:
    """By Zipf's law: the first asks twice as often as the second."""
    return bisect.bisect(weights, chance.random() * weights[-1]) + 1


def zipf() -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, INSTITUTIONS + 1)))


def key_of(institution: int) -> KeyName:
    return KeyName(institution, f"k{institution:07d}")


def subject_of(resident: int) -> Subject:
    head, tail = struct.unpack(">qq", sha256(b"%d" % resident).digest()[:16])
    return Subject(head, tail, 1)


def any_entry(
    chance: random.Random, weights: list[float], at: int, purposes: dict[int, str]
) -> Entry:
    """A lookup: nine of ten verify, four of a hundred are refused."""
    institution = institution_of(chance, weights)
    verify = chance.random() < 0.9
    purpose = _PURPOSES[institution % len(_PURPOSES)]
    refused = chance.random() < 0.04
    answers = (
        (Outcome.MATCHED, Outcome.MISMATCHED, Outcome.NOT_FOUND)
        if verify
        else (Outcome.DISCLOSED, Outcome.NOT_FOUND)
    )
    return Entry(
        at=at,
        actor=Actor.INSTITUTION,
        outcome=Outcome.REFUSED if refused else chance.choice(answers),
        address=parse_address(str(_NETWORK[institution * 4 + chance.randrange(2)])),
        operation=Operation.VERIFY if verify else Operation.FETCH,
        institution=institution,
        key=key_of(institution),
        purpose=PurposeName(purpose.number, purposes[purpose.number]),
        fields=FIELD_BIT["name"] | FIELD_BIT["birth_date"] if verify else 0b1011010100,
        subject=subject_of(chance.randrange(RESIDENTS)),
        reason=Reason.NOT_GRANTED if refused else None,
        reference="".join(chance.choices(_DIGITS, k=12))
        if chance.random() < 0.3
        else None,
    )


async def prepare(superuser: asyncpg.Connection, first_day: int) -> dict[int, str]:
    """Institutions, keys and the month's partitions; gives the purposes' names."""
    await superuser.execute(
        "INSERT INTO institutions (id, name) SELECT n, 'Institution ' || n"
        f" FROM generate_series(1, {INSTITUTIONS}) AS n"
    )
    await superuser.executemany(
        "INSERT INTO keys (number, id, institution, digest, pepper)"
        " VALUES ($1, $2, $1, sha256(''), 1)",
        [key_of(n) for n in range(1, INSTITUTIONS + 1)],
    )
    for n in range(DAYS):
        starts = first_day + n * DAY
        await make_day(superuser, starts)
    rows = await superuser.fetch("SELECT number, name FROM purposes")
    return {row["number"]: row["name"] for row in rows}


async def make_day(superuser: asyncpg.Connection, starts: int) -> None:
    """The partitions of a day, as the function create_partitions makes them."""
    seconds = [starts // SECOND, (starts + DAY) // SECOND]
    numbers = [batch_number(instant, 0, 0) for instant in (starts, starts + DAY)]
    await superuser.execute(f"""
        DO $do$ BEGIN
            IF to_regclass('entries_' || to_char(to_timestamp({seconds[0]}) AT TIME ZONE 'Asia/Jakarta', 'YYYYMMDD'))
                IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE entries_%1$s PARTITION OF entries FOR VALUES FROM (%2$L) TO (%3$L);
                     CREATE TABLE batches_%1$s PARTITION OF batches FOR VALUES FROM ({numbers[0]}) TO ({numbers[1]})',
                    to_char(to_timestamp({seconds[0]}) AT TIME ZONE 'Asia/Jakarta', 'YYYYMMDD'),
                    to_timestamp({seconds[0]}), to_timestamp({seconds[1]})
                );
            END IF;
        END $do$
    """)


async def give_to_owner(superuser: asyncpg.Connection) -> None:
    """The partitions, as if the gateway had made them itself."""
    owned = "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
    for row in await superuser.fetch(owned):
        if "idx" not in row["name"] and row["name"].startswith(
            ("entries_", "batches_")
        ):
            await superuser.execute(f"ALTER TABLE {row['name']} OWNER TO gateway_owner")


def first_day_of(now: int) -> int:
    """The month's first midnight of Jakarta; it ends with yesterday."""
    return (now + JAKARTA_OFFSET) // DAY * DAY - JAKARTA_OFFSET - DAYS * DAY


def _write_chunk(
    month: Month, chunk: tuple[int, int, int, int]
) -> list[tuple[int, bytes]]:
    return asyncio.run(_copy_chunk(month, chunk))


async def _copy_chunk(
    month: Month, chunk: tuple[int, int, int, int]
) -> list[tuple[int, bytes]]:
    """Writes a chunk; its batches in order, each with its joined leaf hashes."""
    number, count, starts, ends = chunk
    chance, weights = random.Random(number), zipf()  # noqa: S311 - for a benchmark
    instants = sorted(chance.randrange(starts, ends - SECOND) for _ in range(count))
    entries: list[tuple[object, ...]] = []
    batches: list[tuple[object, ...]] = []
    sealed: list[tuple[int, bytes]] = []
    done = 0
    while done < count:
        size = min(count - done, chance.randint(1, 2 * month.flush - 1))
        # A flush is of a moment: its entries lie within a few milliseconds.
        newest = instants[done + size - 1]
        batch = batch_number(newest, number % 2048, len(batches) % 1024)
        leaves = []
        for position in range(size):
            at = newest - (size - 1 - position) * 100
            entry = any_entry(chance, weights, at, month.purposes)
            leaves.append(leaf_hash(line(entry, Place(batch, position))))
            entries.append((batch, position, *write_entry(entry)))
        batches.append((batch, size, DIGESTS.digest(leaves, 1), 1))
        sealed.append((batch, b"".join(leaves)))
        done += size
    connection = await asyncpg.connect(month.dsn)
    await connection.copy_records_to_table("batches", records=batches)
    await connection.copy_records_to_table(
        "entries", records=entries, columns=ENTRY_COLUMNS
    )
    await connection.close()
    return sealed


async def fill(month: Month) -> AsyncIterator[int]:
    """Writes the month and its tree; tells how many entries are in, chunk by chunk."""
    loop = asyncio.get_running_loop()
    connection = await asyncpg.connect(month.dsn)
    growing = Growing(connection)
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        # Let go one by one: the leaves of fifty million are gigabytes.
        waiting = deque(
            loop.run_in_executor(processes, _write_chunk, month, chunk)
            for chunk in month.chunks()
        )
        while waiting:
            await growing.seal(await waiting.popleft())
            yield growing.frontier.size
    await connection.close()


class Growing:
    """The tree, kept as the sealer keeps it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._signer = Signer(ORIGIN, SIGNING_KEY)
        self.frontier = Frontier()

    async def seal(self, batches: list[tuple[int, bytes]]) -> None:
        seals: list[tuple[int, int, bytes]] = []
        kept: list[tuple[int, int, bytes]] = []
        for batch, leaves in batches:
            seals.append((self.frontier.size, batch, leaves))
            for at in range(0, len(leaves), tree.HASH):
                kept += _kept(self.frontier.add(leaves[at : at + tree.HASH]))
        head = Checkpoint(ORIGIN, self.frontier.size, self.frontier.root())
        checkpoint = (head.size, head.root, self._signer.sign(head))
        copy = self._connection.copy_records_to_table
        await copy("seals", records=seals)
        await copy("nodes", records=kept)
        await copy(
            "checkpoints", records=[checkpoint], columns=["size", "root", "note"]
        )


def _kept(completed: list[tuple[Node, bytes]]) -> list[tuple[int, int, bytes]]:
    return [
        (node.level, node.number, hashed)
        for node, hashed in completed
        if node.level >= tree.KEPT_LEVEL
    ]

"""A log of many kinds of entries, written as workers write it."""

import random
from collections.abc import Iterable
from itertools import count
from uuid import UUID

from gateway.audit.batch import BatchDigests, append
from gateway.audit.checkpoint import Signer
from gateway.audit.entry import Entry, KeyName, PurposeName, batch_number, parse_address
from gateway.audit.rollup import Rollups
from gateway.audit.sealer import Sealer
from gateway.audit.subject import Subject
from gateway.postgres import Connection, Link
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Outcome, Reason
from tests.conftest import Database

PEPPERS = NumberedKeys({1: bytes(32)})
ORIGIN = "log.example/residents"
ADDRESS = parse_address("192.0.2.1")
KEY = KeyName(1, "Ab3dE6gH")
# As the migrations name them.
PURPOSES = (PurposeName(1, "kyc"), PurposeName(2, "treatment"))
ANSWERS = (Outcome.MATCHED, Outcome.MISMATCHED, Outcome.DISCLOSED, Outcome.NOT_FOUND)
_numbers = count()


async def make_key(superuser: Connection) -> None:
    """The key that the entries name: its id is in their lines."""
    await superuser.execute("INSERT INTO institutions (id, name) VALUES (1, 'Bank')")
    await superuser.execute(
        "INSERT INTO keys (number, id, institution, digest, pepper)"
        " VALUES ($1, $2, 1, sha256(''), 1)",
        *KEY,
    )


def answer(
    at: int,
    institution: int,
    outcome: Outcome = Outcome.MATCHED,
    purpose: PurposeName = PURPOSES[0],
    replay_of: UUID | None = None,
) -> Entry:
    """An answer about a resident."""
    return Entry(
        at=at,
        actor=Actor.INSTITUTION,
        outcome=outcome,
        address=ADDRESS,
        operation=Operation.VERIFY,
        institution=institution,
        key=KEY,
        purpose=purpose,
        subject=Subject(1, 2, 1),
        replay_of=replay_of,
    )


def refusal(at: int, institution: int | None = None, times: int = 1) -> Entry:
    """One refusal, or a flood's entry that counts them."""
    known = institution is not None
    return Entry(
        at=at,
        actor=Actor.INSTITUTION if known else Actor.UNIDENTIFIED,
        outcome=Outcome.REFUSED,
        reason=Reason.QUOTA_EXCEEDED if known else Reason.UNAUTHENTICATED,
        operation=Operation.VERIFY,
        institution=institution,
        address=ADDRESS,
        count=times,
    )


def any_entry(chance: random.Random, at: int) -> Entry:
    """Every kind of entry that counts in its own way."""
    institution = chance.randint(1, 5)
    match chance.randrange(4):
        case 0:
            return refusal(at, times=chance.choice([1, 1, 250]))
        case 1:
            return refusal(at, institution, chance.choice([1, 40]))
        case 2:
            return answer(at, institution, replay_of=UUID(int=chance.getrandbits(128)))
        case _:
            return answer(
                at, institution, chance.choice(ANSWERS), chance.choice(PURPOSES)
            )


async def write(hot: Connection, entries: Iterable[Entry]) -> list[str]:
    """One batch, whose entries lie within a minute; gives the access ids."""
    held = list(entries)
    n = next(_numbers)
    newest = max(entry.at for entry in held)
    number = batch_number(newest, n // 1024 % 2048, n % 1024)
    async with hot.transaction():
        return await append(hot, number, held, BatchDigests(PEPPERS))


def sealer(database: Database) -> tuple[Sealer, Link]:
    link = Link(database.dsn("sealer"), name="sealer", statement_seconds=30)
    signer = Signer(ORIGIN, bytes(range(32)))
    digests = BatchDigests(PEPPERS)
    return Sealer(link, origin=ORIGIN, signer=signer, digests=digests), link


async def seal(database: Database) -> None:
    """Seals whatever has been committed."""
    sealing, link = sealer(database)
    async with link.connection() as connection:
        frontier, grows = await sealing.frontier(connection), True
        # Nor is it done while it still looks for what came late.
        while grows or sealing._unsealed._swept is not None:
            grown = await sealing.seal(connection, frontier)
            frontier, grows = grown, grown.size > frontier.size
    link.drop()


async def roll_up(database: Database) -> None:
    """Counts whatever has been sealed."""
    link = Link(database.dsn("sealer"), name="rollups", statement_seconds=30)
    async with link.connection() as connection:
        while await Rollups(link).step(connection):
            pass
    link.drop()

"""Approvals under races, and what the database holds of them by itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import pytest

from gateway.changes import Change, Keeper, Made
from gateway.partners import identities, keeping, listing, proposals
from gateway.partners.keeping import NewStaff
from gateway.partners.keys import Environment
from gateway.partners.listing import Identity
from gateway.partners.proposals import Wish
from gateway.postgres import Connection, Link
from gateway.problems import NotApproved
from gateway.settings import NumberedKeys
from gateway.vocabulary import Operation
from tests.conftest import Database

PEPPERS = NumberedKeys({1: b"p" * 32})
WHY = "letter 12 of the ministry"
ASKED = {"role": "admin", "name": "Budi", "reason": WHY}


@dataclass(frozen=True)
class Office:
    """Three admins, and two workers' keepers."""

    admins: list[int]
    keepers: list[Keeper]

    async def ask(self, keeper: Keeper) -> Made[NewStaff]:
        """What the first admin asks for, of one worker or the other."""
        operation = Operation.STAFF_CREATE
        work = partial(
            keeping.create_staff,
            peppers=PEPPERS,
            role="admin",
            name="Budi",
            not_after=None,
            environment=Environment.TEST,
        )
        wish = Wish(operation, None, ASKED, self.admins[0], 100)
        return await keeper.change(Change(operation, WHY), work, wish=wish)

    async def bind(self, keeper: Keeper, member: int, subject: str) -> Made[int]:
        """The first admin binds somebody to an account of the ministry's."""
        operation = Operation.STAFF_BIND
        account = Identity("https://id.example", "sub", subject)
        work = partial(
            identities.bind_staff,
            staff=member,
            identity=account,
            environment=Environment.TEST,
        )
        asked = {"subject": subject, "reason": WHY}
        wish = Wish(operation, str(member), asked, self.admins[0], 100)
        return await keeper.change(Change(operation, WHY), work, wish=wish)

    async def approve(self, keeper: Keeper, by: int, number: int = 1) -> Made[int]:
        work = partial(
            proposals.give_verdict,
            proposal=number,
            by=by,
            reason=WHY,
            approved=True,
        )
        return await keeper.change(Change(Operation.PROPOSAL_APPROVE, WHY), work)


@asynccontextmanager
async def keeper_of(database: Database) -> AsyncIterator[Keeper]:
    link = Link(database.dsn("admin"), name="admin", statement_seconds=0)
    async with asyncio.TaskGroup() as tasks:
        yield Keeper(link, peppers=PEPPERS, tasks=tasks)
    link.drop()


@pytest.fixture
async def office(database: Database, admin: Connection) -> AsyncIterator[Office]:
    made = [
        await keeping.create_staff(
            admin,
            PEPPERS,
            role="admin",
            name=name,
            not_after=None,
            environment=Environment.TEST,
        )
        for name in ("Ani", "Beni", "Citra")
    ]
    async with AsyncExitStack() as stack:
        keepers = [await stack.enter_async_context(keeper_of(database)) for _ in "12"]
        yield Office([one.id for one in made], keepers)


def kinds(ends: Sequence[object]) -> list[str]:
    return sorted(type(end).__name__ for end in ends)


async def test_of_two_who_approve_at_once_one_has(
    office: Office, admin: Connection
) -> None:
    with pytest.raises(NotApproved):
        await office.ask(office.keepers[0])
    pairs = zip(office.keepers, office.admins[1:], strict=True)
    both = [office.approve(keeper, by) for keeper, by in pairs]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert kinds(ends) == ["Made", "NotApproved"]
    (proposal,) = await proposals.list_proposals(admin)
    assert proposal.state == "approved"


async def test_an_approval_that_two_workers_are_asked_to_use_at_once_is_used_once(
    office: Office, admin: Connection
) -> None:
    with pytest.raises(NotApproved):
        await office.ask(office.keepers[0])
    await office.approve(office.keepers[1], office.admins[1])
    both = [office.ask(keeper) for keeper in office.keepers]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert kinds(ends) == ["Made", "NotApproved"]
    made = await admin.fetchval("SELECT count(*) FROM staff WHERE name = 'Budi'")
    assert made == 1


async def test_what_is_held_up_leaves_a_proposal_and_nothing_else(
    office: Office, superuser: Connection, admin: Connection
) -> None:
    for _ in range(2):
        with pytest.raises(NotApproved):
            await office.ask(office.keepers[0])
    assert await superuser.fetchval("SELECT count(*) FROM staff") == 3
    assert await superuser.fetchval("SELECT count(*) FROM entries") == 0
    assert await superuser.fetchval("SELECT count(*) FROM changes") == 0
    (proposal,) = await proposals.list_proposals(admin)
    assert (proposal.asker, proposal.asked) == ("Ani", ASKED)
    assert [await proposals.count_waiting(admin, one) for one in office.admins] == [
        *(0, 1, 1)
    ]


async def test_whom_an_admin_is_bound_to_is_for_two_and_whom_ops_are_for_one(
    office: Office, admin: Connection
) -> None:
    keeper, other = office.keepers[0], office.admins[1]
    with pytest.raises(NotApproved):
        await office.bind(keeper, other, "account-of-the-first")
    (kept,) = await listing.list_staff(admin, only=other)
    assert kept.identity is None
    await office.approve(keeper, office.admins[2])
    assert (await office.bind(keeper, other, "account-of-the-first")).result == other
    ops = await keeping.create_staff(
        admin,
        PEPPERS,
        role="ops",
        name="Dewi",
        not_after=None,
        environment=Environment.TEST,
    )
    assert (await office.bind(keeper, ops.id, "account-of-ops")).result == ops.id


async def test_the_database_holds_that_two_people_are_two_and_once_is_once(
    office: Office, admin: Connection
) -> None:
    with pytest.raises(NotApproved):
        await office.ask(office.keepers[0])
    first, second, third = office.admins
    speak = (
        "INSERT INTO verdicts (proposal, asked_by, given_by, approved, reason) VALUES"
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await admin.execute(f"{speak} (1, $1, $1, true, 'mine')", first)
    # Nor is it another's proposal for being called so.
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await admin.execute(f"{speak} (1, $1, $2, true, 'mine')", third, first)
    await admin.execute(f"{speak} (1, $1, $2, true, 'seen')", first, second)
    change = (
        "INSERT INTO changes (batch, at, operation, id, became, proposal)"
        " VALUES ($1, now(), 45, '9', '{}', 1)"
    )
    await admin.execute(change, 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await admin.execute(change, 2)

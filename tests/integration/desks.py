"""An institution at its desk: a whole lookup on real servers, and what it left."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
from redis.asyncio import Redis

from gateway.audit.access import Access
from gateway.audit.archived import Archive
from gateway.audit.charges import Charges
from gateway.audit.claims import Claims
from gateway.audit.entry import parse_address
from gateway.audit.idempotency import Attempts
from gateway.audit.journal import Journal
from gateway.audit.own_entries import OwnEntries
from gateway.audit.sealed import SealedLog
from gateway.audit.subject import SubjectKeys
from gateway.calls import Call, Question
from gateway.clock import SECOND, ServerClock
from gateway.harvesting import Harvesting
from gateway.lookup import Lookups
from gateway.partners import keeping
from gateway.partners.directory import Directory
from gateway.partners.keys import Environment, checksum
from gateway.postgres import Connection, Link, pool
from gateway.problems import Fault
from gateway.quota.epochs import Epochs
from gateway.quota.limiter import Limiter
from gateway.quota.script import state_key
from gateway.registry.residents import Residents
from gateway.settings import NumberedKeys
from gateway.vocabulary import CHARGED_OUTCOMES, Operation
from tests.conftest import Database

SECRETS = NumberedKeys({1: b"k" * 32})
HOME = parse_address("192.0.2.1")
# Serials from 9000 up belong to nobody.
SITI, NOBODY = "3171014501909001", "3171014501909002"
# Nobody lawfully asks about it.
CANARY = "3171015501900001"
LIMITS = {"rate": 1000, "burst": 1000, "day": 1000, "month": 10_000}
GRANT = {
    "purpose": "kyc",
    "operations": ["verify", "fetch", "batch"],
    "fields": ["name", "birth_date", "sex"],
}
CLAIMS = {"name": "Siti Aminah", "birth_date": "1990-01-05"}
ASKED = Question(
    nik=SITI,
    purpose="kyc",
    fields=("name", "birth_date"),
    claims=CLAIMS,
    reference="INV-7",
    operator="Budi",
)
YEAR = 365 * 86_400 * SECOND


def now() -> int:
    return time.time_ns() // 1000


@dataclass
class Desk:
    """An institution at its desk: what it calls with, and what became of it."""

    lookups: Lookups
    superuser: Connection
    redis: Redis
    institution: int
    agreement: int
    key: str
    question: Question = field(default_factory=lambda: replace(ASKED))

    def call(self, **changes: Any) -> Call[Question]:
        async def read() -> Question:
            await asyncio.sleep(0)
            return self.question

        access = Access(Operation.VERIFY, changes.pop("address", HOME))
        return Call(access, changes.pop("credential", self.key), read)

    async def entry(self) -> asyncpg.Record:
        (row,) = await self.superuser.fetch("SELECT * FROM readable_entries")
        return row

    async def used(self) -> tuple[int, int]:
        """The units of the day and of the month that Redis holds as spent."""
        ask: Callable[..., Awaitable[list[bytes | None]]] = self.redis.execute_command
        key = state_key(self.institution)
        day, month = await ask("HMGET", key, "day_used", "month_used")
        return int(day or 0), int(month or 0)

    async def agree(self, admin: Connection, **terms: Any) -> None:
        await keeping.change_agreement(admin, self.agreement, **terms)
        await self.lookups.directory.refresh()

    async def accounted(self, charged: int) -> None:
        """One entry, and as many units spent as it says."""
        row = await self.entry()
        assert (row["outcome"] in CHARGED_OUTCOMES) == bool(charged)
        assert await self.used() == (charged, charged)


@asynccontextmanager
async def lookups_over(
    *, hot: str, registry: str, auditor: str, receipts: str, redis: Redis
) -> AsyncIterator[Lookups]:
    clock = ServerClock()
    hots = (
        "directory",
        "listener",
        "journal",
        "batches",
        "claims",
        "epochs",
        "reserve",
        "counters",
        "harvesting",
    )
    finds = ("lookups", "thousands")
    names = dict.fromkeys(hots, hot) | dict.fromkeys(finds, registry)
    links = {
        name: Link(dsn, name=name, statement_seconds=0) for name, dsn in names.items()
    }
    try:
        async with (
            pool(auditor, name="auditor", size=1, statement_seconds=5) as everything,
            pool(receipts, name="receipts", size=1, statement_seconds=5) as own,
            asyncio.TaskGroup() as tasks,
        ):
            journal = Journal(
                (links["journal"], links["batches"]),
                peppers=SECRETS,
                clock=clock,
                tasks=tasks,
            )
            lookups = Lookups(
                directory=Directory(
                    links["directory"], links["listener"], SECRETS, clock
                ),
                limiter=Limiter(
                    redis,
                    epochs=Epochs(links["epochs"]),
                    links=(links["reserve"], links["counters"]),
                    ledger=Charges(everything),
                    clock=clock,
                    tasks=tasks,
                ),
                residents=Residents(
                    (links["lookups"], links["thousands"]), tasks=tasks
                ),
                journal=journal,
                subjects=SubjectKeys(SECRETS),
                own_entries=OwnEntries(own, everything, Archive(None), tasks=tasks),
                sealed=SealedLog(everything),
                attempts=Attempts(SECRETS),
                claims=Claims(links["claims"], tasks=tasks),
                harvesting=Harvesting(
                    SubjectKeys(SECRETS),
                    journal,
                    links["harvesting"],
                    canaries=frozenset((CANARY,)),
                    most_claims=5,
                ),
                clock=clock,
            )
            try:
                yield lookups
            finally:
                await lookups.limiter.close()
    finally:
        for link in links.values():
            link.drop()


async def new_key(admin: Connection, institution: int, **terms: Any) -> str:
    made = await keeping.create_key(
        admin,
        SECRETS,
        institution=institution,
        environment=Environment.TEST,
        **({"not_after": None, "cidrs": None} | terms),
    )
    return made.text


async def new_agreement(admin: Connection, institution: int) -> int:
    span = {"from_at": now() - YEAR, "to_at": now() + YEAR}
    return await keeping.create_agreement(
        admin, institution, **span, grants=[GRANT], limits=LIMITS
    )


async def new_resident(superuser: Connection) -> None:
    await superuser.execute(
        "INSERT INTO registry.residents (nik, kk, name, birth_date, sex)"
        " VALUES ($1, $1, 'SITI AMINAH', '1990-01-05', 'P')",
        int(SITI),
    )


@asynccontextmanager
async def opened_desk(
    database: Database,
    admin: Connection,
    superuser: Connection,
    redis: Redis,
    **elsewhere: str,
) -> AsyncIterator[Desk]:
    """A desk whose calls go to these servers, or `elsewhere` for a role's."""
    await new_resident(superuser)
    institution = await keeping.create_institution(admin, "Bank Contoh")
    agreement = await new_agreement(admin, institution)
    key = await new_key(admin, institution)
    over = {
        role: database.dsn(role) for role in ("hot", "registry", "auditor", "receipts")
    } | elsewhere
    async with lookups_over(redis=redis, **over) as lookups:
        yield Desk(lookups, superuser, redis, institution, agreement, key)


# What makes a desk's call refused; each gives what the call is then made with.
Prepare = Callable[[Desk, Connection], Awaitable[dict[str, Any]]]


async def no_key(_: Desk, __: Connection) -> dict[str, Any]:
    return {"credential": None}


async def a_wrong_secret(desk: Desk, _: Connection) -> dict[str, Any]:
    body = desk.key[:17] + "0" * 30
    return {"credential": body + checksum(body)}


async def a_revoked_key(desk: Desk, admin: Connection) -> dict[str, Any]:
    await keeping.revoke_key(admin, desk.key[9:17])
    await desk.lookups.directory.refresh()
    return {}


async def a_staff_token(desk: Desk, admin: Connection) -> dict[str, Any]:
    staff = await keeping.create_staff(
        admin,
        SECRETS,
        role="auditor",
        name="Ani",
        not_after=None,
        environment=Environment.TEST,
    )
    await desk.lookups.directory.refresh()
    return {"credential": staff.token.text}


async def a_foreign_address(desk: Desk, admin: Connection) -> dict[str, Any]:
    text = await new_key(admin, desk.institution, cidrs=["198.51.100.0/24"])
    await desk.lookups.directory.refresh()
    return {"credential": text}


async def a_faulty_body(desk: Desk, _: Connection) -> dict[str, Any]:
    desk.question.faults = [Fault("/claims", "want an object of at least one claim")]
    return {}


async def a_suspended_agreement(desk: Desk, admin: Connection) -> dict[str, Any]:
    await desk.agree(admin, status="suspended")
    return {}


async def an_ended_agreement(desk: Desk, admin: Connection) -> dict[str, Any]:
    await desk.agree(admin, to_at=now() - SECOND)
    return {}


async def a_future_agreement(desk: Desk, admin: Connection) -> dict[str, Any]:
    await desk.agree(admin, from_at=now() + 60 * SECOND)
    return {}


async def another_purpose(desk: Desk, _: Connection) -> dict[str, Any]:
    desk.question.purpose = "treatment"
    return {}


async def an_operation_not_granted(desk: Desk, admin: Connection) -> dict[str, Any]:
    await desk.agree(admin, grants=[GRANT | {"operations": ["fetch"]}])
    return {}


async def a_field_not_granted(desk: Desk, _: Connection) -> dict[str, Any]:
    desk.question.fields = ("name", "kk")
    return {}

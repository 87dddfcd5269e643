"""Witnesses as they are deployed, and logs for them to watch."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import httpx

from gateway.audit import tree
from gateway.audit.batch import BatchDigests, append
from gateway.audit.checkpoint import Signer
from gateway.audit.cosignature import Cosigner
from gateway.audit.courier import Courier, KnownWitness, Outcome
from gateway.audit.entry import Entry, batch_number, parse_address
from gateway.audit.sealer import Sealer
from gateway.clock import from_datetime
from gateway.embedded.ports import free_port
from gateway.postgres import Link
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Reason
from gateway.vocabulary import Outcome as Ended
from tests.conftest import Database

DIGESTS = BatchDigests(NumberedKeys({1: bytes(32)}))
ORIGIN = "log.example/residents"
SIGNER = Signer(ORIGIN, bytes(range(32)))
NAME = "witness.example/w1"
SECRET = bytes(range(1, 33))
COSIGNER = Cosigner(NAME, SECRET)
ORDINARY = ("-c", "from gateway.witnessing import serve; serve()")
DYING = ("-m", "tests.integration.dying_witness")
_numbers = count(secrets.randbelow(2**20))


@dataclass(frozen=True)
class Served:
    """A witness in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def known(self) -> KnownWitness:
        return KnownWitness(self.url, COSIGNER.key)


@asynccontextmanager
async def served(
    folder: Path, program: tuple[str, str] = ORDINARY, log: str = SIGNER.key.text
) -> AsyncIterator[Served]:
    """A witness that answers, of the log with this key.

    Its memory is in `folder` and stays there.
    """
    (folder / "logs").write_text(f"{log}\n")
    port = free_port()
    settings = {
        "GATEWAY_WITNESS_NAME": NAME,
        "GATEWAY_WITNESS_KEY_FILE": secret(folder / "witness-key", SECRET),
        "GATEWAY_WITNESS_LOGS_FILE": str(folder / "logs"),
        "GATEWAY_WITNESS_STATE_FILE": str(folder / "heads.sqlite"),
        "GATEWAY_WITNESS_PORT": str(port),
    }
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - a moment; our own program
        [sys.executable, *program],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await _answers(url)
        yield Served(process, url)
    finally:
        process.terminate()
        process.wait(20)


def secret(path: Path, key: bytes) -> str:
    path.touch(0o600)
    path.write_text(f"1:{key.hex()}\n")
    return str(path)


@contextmanager
def sealing_process(log: "WatchedLog", witness: Served, folder: Path) -> Iterator[None]:
    """`gateway seal` with one witness."""
    (folder / "witnesses").write_text(f"{witness.url} {COSIGNER.key.text}\n")
    settings = {
        "GATEWAY_SEALER_DSN": log.dsn,
        "GATEWAY_PEPPER_FILE": secret(folder / "pepper", bytes(32)),
        "GATEWAY_SIGNING_KEY_FILE": secret(folder / "signing-key", bytes(range(32))),
        "GATEWAY_LOG_ORIGIN": ORIGIN,
        "GATEWAY_WITNESSES_FILE": str(folder / "witnesses"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "from gateway.sealing import seal; seal()"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


async def _answers(url: str) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


class WatchedLog:
    """A log in a real database, sealed and carried step by step."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dsn = database.dsn("sealer")

    def link(self, name: str) -> Link:
        return Link(self.dsn, name=name, statement_seconds=30)

    def sealer(self, link: Link) -> Sealer:
        return Sealer(link, origin=ORIGIN, signer=SIGNER, digests=DIGESTS)

    async def write(self, entries: int) -> None:
        """One batch more, different from every other."""
        hot = await asyncpg.connect(self._database.dsn("hot"))
        now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
        n = next(_numbers)
        entry = Entry(
            at=now,
            actor=Actor.UNIDENTIFIED,
            outcome=Ended.REFUSED,
            reason=Reason.UNAUTHENTICATED,
            operation=Operation.VERIFY,
            address=parse_address("192.0.2.1"),
        )
        number = batch_number(now, n // 1024 % 2048, n % 1024)
        async with hot.transaction():
            await append(hot, number, [entry] * entries, DIGESTS)
        await hot.close()

    async def seal(self) -> tree.Head:
        """Seals whatever is written; the head."""
        link = self.link("sealer")
        async with link.connection() as connection:
            sealing = self.sealer(link)
            frontier = await sealing.frontier(connection)
            while (
                grown := await sealing.seal(connection, frontier)
            ).size > frontier.size:
                frontier = grown
            head = await tree.head(connection)
        link.drop()
        assert head is not None
        return head

    async def carry(self, courier: Courier) -> Outcome:
        """One send of the newest head."""
        link = self.link("courier")
        async with link.connection() as connection, httpx.AsyncClient() as client:
            head = await tree.head(connection)
            assert head is not None
            outcome = await courier.carry(connection, client, head)
        link.drop()
        return outcome

    async def rewrite(self, entries: int) -> tree.Head:
        """What one can do who holds the database and the signing key.

        The whole history is replaced by one of so many entries, well sealed.
        """
        superuser = await asyncpg.connect(self._database.dsn("superuser"))
        await superuser.execute(
            "TRUNCATE batches, entries, seals, nodes, checkpoints, cosignatures"
        )
        await superuser.close()
        await self.write(entries)
        return await self.seal()

    async def cosignatures(self) -> dict[int, str]:
        """The lines kept, by size, as the auditor's role reads them."""
        auditor = await asyncpg.connect(self._database.dsn("auditor"))
        rows = await auditor.fetch("SELECT size, line FROM cosignatures")
        await auditor.close()
        return {row["size"]: row["line"] for row in rows}

    async def served_note(self) -> str:
        """The newest note, as a worker reads it for those outside."""
        auditor = await asyncpg.connect(self._database.dsn("auditor"))
        head = await tree.head(auditor)
        await auditor.close()
        assert head is not None
        return head.note

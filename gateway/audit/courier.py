"""Carries the log's newest checkpoint to a witness, and keeps the cosignature.

It works beside the sealer, with a connection of its own: a witness that is slow, gone
or hostile delays nothing but its own cosignatures. One courier a witness, among all
processes, by an advisory lock; checkpoints that come while one is carried are skipped.
"""

import asyncio
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx
import structlog

from gateway import telemetry
from gateway.audit import merkle, tree
from gateway.audit.checkpoint import note_text
from gateway.audit.cosignature import Cosignature, CosignerKey
from gateway.audit.tree import SQL, Head
from gateway.audit.witness import Submission
from gateway.postgres import Connection, Link
from gateway.settings import BadSetting

log = structlog.get_logger()

PAUSE: Final = 0.5
SPACING_SECONDS: Final = 5.0
# A refused history stays refused until somebody has looked: once a minute is enough.
REFUSED_SPACING_SECONDS: Final = 60.0
DEADLINE_SECONDS: Final = 10.0
MOST_ANSWER: Final = 64 * 1024
# The first asks for the size that the witness knows, the second is what it is for.
_TRIES: Final = 3
_SIZE_TYPE: Final = "text/x.tlog.size"
_TOLD_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True, slots=True)
class KnownWitness:
    """Where a witness is, and the key that its cosignatures are verified with."""

    url: str
    key: CosignerKey

    @property
    def name(self) -> str:
        return self.key.name


def read_witnesses(path: Path | None) -> list[KnownWitness]:
    """Reads lines of `url key`, the key as `name+hash+base64` of type 4.

    Raises:
        BadSetting: no readable file, or not of that form.
    """
    if path is None:
        return []
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        raise BadSetting(
            "GATEWAY_WITNESSES_FILE names no readable text file."
        ) from None
    witnesses = [_read_witness(line) for line in lines if line.strip()]
    if len({witness.name for witness in witnesses}) < len(witnesses):
        raise BadSetting("GATEWAY_WITNESSES_FILE names a witness twice.")
    return witnesses


def _read_witness(line: str) -> KnownWitness:
    url, _, text = line.strip().partition(" ")
    key = CosignerKey.read(text)
    if key is None or urlsplit(url).scheme not in {"http", "https"}:
        raise BadSetting(
            "GATEWAY_WITNESSES_FILE must hold lines of an http(s) URL, a space and a "
            "witness's key as name+hash+key (a cosignature key, of type 4)."
        )
    return KnownWitness(url.rstrip("/"), key)


class Outcome(StrEnum):
    COSIGNED = "cosigned"
    FAILED = "failed"
    REFUSED = "refused"


class NoCosignature(Exception):
    """The witness gave none this time; the text says why, in fixed words."""


class HistoryRefused(Exception):
    """The witness holds a history of this log that ours does not extend."""


class _Answer(NamedTuple):
    status: int
    kind: str
    content: bytes

    @property
    def told_size(self) -> int | None:
        """The size that the witness knows, where that is its answer."""
        told = _TOLD_SIZE.fullmatch(self.content)
        conflict = self.status == httpx.codes.CONFLICT and self.kind == _SIZE_TYPE
        return int(told[1]) if conflict and told else None


class Courier:
    """Serves one witness. `run` goes on for ever, carrying whenever it holds the lock.

    What was cosigned is remembered here and not read from the database, which is what
    the witness is to watch: a head is sent again after a start, or if it changed.
    """

    def __init__(self, link: Link, witness: KnownWitness) -> None:
        self._link = link
        self._witness = witness
        self._cosigned: tuple[int, bytes] | None = None
        self._known = 0

    async def run(self) -> None:
        async with (
            self._link.connection() as connection,
            httpx.AsyncClient(
                timeout=DEADLINE_SECONDS, headers={"Accept-Encoding": "identity"}
            ) as client,
        ):
            # The lock is the database's to give: there is no event to wait for.
            while not await connection.fetchval(  # noqa: ASYNC110 - see above
                SQL["try_to_be_the_courier"], self._witness.name
            ):
                await asyncio.sleep(PAUSE)
            while True:
                head = await self._next(connection)
                if head is None or (head.size, head.root) == self._cosigned:
                    await asyncio.sleep(PAUSE)
                    continue
                outcome = await self.carry(connection, client, head)
                refused = outcome is Outcome.REFUSED
                await asyncio.sleep(
                    REFUSED_SPACING_SECONDS if refused else SPACING_SECONDS
                )

    async def _next(self, connection: Connection) -> Head | None:
        """The head to carry: rather one that another witness has cosigned.

        A head comes twice a second and goes to a witness every five: by themselves
        two witnesses would seldom cosign the same. One that is alone takes the newest.
        """
        own = self._cosigned[0] if self._cosigned else 0
        row = await connection.fetchrow(SQL["cosigned_above"], own)
        head = await tree.head(connection) if row is None else Head(*row)
        # Of an empty log there is no history to hold anybody to.
        return head if head and head.size else None

    async def carry(
        self, connection: Connection, client: httpx.AsyncClient, head: Head
    ) -> Outcome:
        """Sends one head and keeps its cosignature; how that ended, logged and counted.

        Raises:
            asyncpg.PostgresError, OSError: of our own database, not of the witness.
        """
        name = self._witness.name
        outcome = Outcome.COSIGNED
        try:
            cosignature = await self._obtain(connection, client, head)
        except HistoryRefused as refusal:
            outcome = Outcome.REFUSED
            log.critical(
                "witness_refused_history",
                witness=name,
                size=head.size,
                known=self._known,
                answer=str(refusal),
            )
        except (NoCosignature, httpx.HTTPError, TimeoutError) as error:
            outcome = Outcome.FAILED
            kind = type(error).__name__
            why = str(error) if isinstance(error, NoCosignature) else kind
            log.warning("witness_failed", witness=name, size=head.size, answer=why)
        else:
            # A crash before this loses a cosignature, not the witness's memory of it.
            await connection.execute(
                SQL["insert_cosignature"], head.size, name, cosignature.line
            )
            self._cosigned = (head.size, head.root)
        self._count(outcome, head)
        return outcome

    def _count(self, outcome: Outcome, head: Head) -> None:
        name = self._witness.name
        telemetry.WITNESS_SENDS.labels(name, outcome.value).inc()
        if outcome is Outcome.COSIGNED:
            telemetry.WITNESSED_SIZE.labels(name).set(head.size)
        if outcome is not Outcome.FAILED:
            refused = outcome is Outcome.REFUSED
            telemetry.WITNESS_REFUSES.labels(name).set(int(refused))

    async def _obtain(
        self, connection: Connection, client: httpx.AsyncClient, head: Head
    ) -> Cosignature:
        for _ in range(_TRIES):
            # The log may be shorter than it was: from nothing, the witness tells.
            old = self._known if self._known <= head.size else 0
            algorithm = partial(merkle.consistency_proof, old, head.size)
            proof = await tree.prove(connection, algorithm)
            answer = await self._ask(client, Submission(old, proof, head.note))
            if answer.told_size is None:
                return self._cosignature(answer, head)
            self._known = answer.told_size
            if self._known > head.size:
                await self._look_for(connection, self._known)
        raise NoCosignature("it told one size after another")

    async def _look_for(self, connection: Connection, size: int) -> None:
        """Whether our log has a head of that size: another courier may have sent it."""
        newest = await tree.head(connection)
        if newest is None or newest.size < size:
            raise HistoryRefused("it has cosigned a longer log than ours")
        raise NoCosignature("it has cosigned a newer head of ours")

    def _cosignature(self, answer: _Answer, head: Head) -> Cosignature:
        if answer.status in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}:
            raise HistoryRefused(f"status {answer.status}")
        if answer.status != httpx.codes.OK:
            raise NoCosignature(f"status {answer.status}")
        note = head.note + answer.content.decode("utf-8", "replace")
        cosignature = self._witness.key.cosignature(note)
        # An empty line in its answer would make another text of the note than the head's.
        if cosignature is None or note_text(note) != note_text(head.note):
            raise NoCosignature("no good cosignature of its key")
        self._known = head.size
        return cosignature

    async def _ask(self, client: httpx.AsyncClient, submission: Submission) -> _Answer:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            client.stream(
                "POST", f"{self._witness.url}/add-checkpoint", content=submission.body
            ) as response,
        ):
            content = b""
            async for some in response.aiter_raw():
                content += some
                if len(content) > MOST_ANSWER:
                    raise NoCosignature("its answer has no end")
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            return _Answer(response.status_code, kind, content)

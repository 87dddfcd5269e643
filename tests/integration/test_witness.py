"""A log and its witness: what is cosigned is kept, and a rewritten history is found."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import asyncpg
import httpx
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from typing_extensions import override

from gateway.audit import merkle, tree
from gateway.audit.checkpoint import Checkpoint, Signer
from gateway.audit.courier import Courier, KnownWitness, Outcome
from gateway.audit.witness import Submission
from gateway.embedded.ports import free_port
from gateway.postgres import Connection
from tests.conftest import Database
from tests.integration.witnesses import (
    COSIGNER,
    DYING,
    NAME,
    ORIGIN,
    SIGNER,
    Served,
    WatchedLog,
    sealing_process,
    served,
)


@pytest.fixture
def log(database: Database) -> WatchedLog:
    return WatchedLog(database)


@pytest.fixture
async def witness(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as running:
        yield running


def courier(log: WatchedLog, known: KnownWitness) -> Courier:
    return Courier(log.link("courier"), known)


def counted(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(f"gateway_{name}", {"witness": NAME} | labels)
    return value or 0.0


def answering(status: int, text: str, **headers: str) -> httpx.AsyncClient:
    """A client whose witness always answers this."""

    def answer(_: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(text.encode())
        return httpx.Response(status, headers=headers, stream=stream)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def test_a_cosignature_is_kept_and_served_below_the_note(
    log: WatchedLog, witness: Served
) -> None:
    carrying = courier(log, witness.known)
    for entries in (5, 300, 1):
        await log.write(entries)
        before = await log.seal()
        assert not COSIGNER.key.verifies(before.note)
        assert await log.carry(carrying) is Outcome.COSIGNED
        kept = await log.cosignatures()
        note = await log.served_note()
        assert note == f"{before.note}{kept[before.size]}\n"
        assert SIGNER.key.verifies(note)
        assert COSIGNER.key.verifies(note)
        assert counted("witnessed_size") == before.size
    assert sorted(await log.cosignatures()) == [5, 305, 306]


async def test_a_newer_head_than_the_cosigned_is_served_without_waiting(
    log: WatchedLog, witness: Served
) -> None:
    await log.write(5)
    await log.seal()
    await log.carry(courier(log, witness.known))
    await log.write(1)
    head = await log.seal()
    assert head.size == 6
    assert SIGNER.key.verifies(head.note)
    assert not COSIGNER.key.verifies(head.note)


async def test_a_courier_that_starts_again_learns_what_the_witness_knows(
    log: WatchedLog, witness: Served
) -> None:
    await log.write(5)
    await log.seal()
    assert await log.carry(courier(log, witness.known)) is Outcome.COSIGNED
    assert await log.carry(courier(log, witness.known)) is Outcome.COSIGNED
    await log.write(70)
    await log.seal()
    assert await log.carry(courier(log, witness.known)) is Outcome.COSIGNED
    assert sorted(await log.cosignatures()) == [5, 75]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(20, id="as long"),
        pytest.param(300, id="longer"),
        pytest.param(7, id="shorter"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_rewritten_history_is_refused_and_the_log_is_told(
    log: WatchedLog, witness: Served, entries: int, *, restarted: bool
) -> None:
    for _ in range(2):
        await log.write(10)
    await log.seal()
    carrying = courier(log, witness.known)
    assert await log.carry(carrying) is Outcome.COSIGNED
    refused = counted("witness_sends_total", outcome="refused")

    forged = await log.rewrite(entries)
    assert SIGNER.key.verifies(forged.note)
    if restarted:
        carrying = courier(log, witness.known)
    with capture_logs() as said:
        assert await log.carry(carrying) is Outcome.REFUSED
    told = next(line for line in said if line["event"] == "witness_refused_history")
    assert told["log_level"] == "critical"
    assert (told["witness"], told["size"], told["known"]) == (NAME, entries, 20)
    assert counted("witness_sends_total", outcome="refused") == refused + 1
    assert counted("witness_refuses_history") == 1
    assert not await log.cosignatures()


async def test_a_rewritten_history_is_still_refused_when_it_has_grown(
    log: WatchedLog, witness: Served
) -> None:
    await log.write(20)
    await log.seal()
    carrying = courier(log, witness.known)
    await log.carry(carrying)
    await log.rewrite(7)
    assert await log.carry(carrying) is Outcome.REFUSED
    await log.write(13)
    await log.seal()
    assert await log.carry(carrying) is Outcome.REFUSED
    await log.write(13)
    await log.seal()
    assert await log.carry(carrying) is Outcome.REFUSED


async def test_a_witness_killed_before_it_answers_never_signs_a_second_history(
    log: WatchedLog, tmp_path: Path
) -> None:
    await log.write(20)
    await log.seal()
    async with served(tmp_path, DYING) as dying:
        with capture_logs() as said:
            assert await log.carry(courier(log, dying.known)) is Outcome.FAILED
        assert "witness_failed" in {line["event"] for line in said}
        assert dying.process.wait(10) == -signal.SIGKILL
    async with served(tmp_path) as again:
        # The head is known though its cosignature never left: the log gets it now,
        assert await log.carry(courier(log, again.known)) is Outcome.COSIGNED
        # and no other history ever.
        for entries in (20, 33):
            await log.rewrite(entries)
            carrying = courier(log, again.known)
            assert await log.carry(carrying) is Outcome.REFUSED


@asynccontextmanager
async def hung(port: int) -> AsyncIterator[None]:
    """Connections are accepted, and nothing ever comes back."""
    server = await asyncio.start_server(hang, "127.0.0.1", port)
    yield
    server.close()
    await server.wait_closed()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("hanging", [True, False])
async def test_a_witness_that_hangs_or_is_gone_does_not_delay_sealing(
    log: WatchedLog, *, hanging: bool
) -> None:
    port = free_port()
    failed = counted("witness_sends_total", outcome="failed")
    known = KnownWitness(f"http://127.0.0.1:{port}", COSIGNER.key)
    links = [log.link("sealer"), log.link("courier"), log.link("looking")]
    await log.write(1)
    async with (
        hung(port) if hanging else nullcontext(),
        links[2].connection() as looking,
        asyncio.TaskGroup() as tasks,
    ):
        works = [log.sealer(links[0]).run(), Courier(links[1], known).run()]
        running = [tasks.create_task(work) for work in works]
        for size in range(1, 6):
            async with asyncio.timeout(2):
                while (head := await tree.head(looking)) is None or head.size < size:  # noqa: ASYNC110 - another session's commit
                    await asyncio.sleep(0.05)
            await log.write(1)
        for task in running:
            task.cancel()
    for link in links:
        link.drop()
    if not hanging:
        assert counted("witness_sends_total", outcome="failed") == failed + 1


async def test_one_courier_at_a_time_carries_to_a_witness(
    log: WatchedLog, witness: Served
) -> None:
    links = [log.link("courier") for _ in range(3)]
    sent = counted("witness_sends_total", outcome="cosigned")
    await log.write(5)
    await log.seal()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(Courier(link, witness.known).run()) for link in links
        ]
        async with asyncio.timeout(5):
            while not await log.cosignatures():  # noqa: ASYNC110 - another session's commit
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        for task in running:
            task.cancel()
    for link in links:
        link.drop()
    assert counted("witness_sends_total", outcome="cosigned") == sent + 1


async def test_the_sealing_process_carries_to_the_witnesses_of_its_settings(
    log: WatchedLog, witness: Served, tmp_path: Path
) -> None:
    await log.write(5)
    with sealing_process(log, witness, tmp_path):
        async with asyncio.timeout(20):
            while not await log.cosignatures():  # noqa: ASYNC110 - another process's commit
                await asyncio.sleep(0.1)


ANOTHER = COSIGNER.cosign("another\n", 1) + "\n"
SIZE = {"Content-Type": "text/x.tlog.size"}


@pytest.mark.parametrize(
    ("status", "text", "headers"),
    [
        pytest.param(200, "", {}, id="no line"),
        pytest.param(200, ANOTHER, {}, id="cosignature of another note"),
        pytest.param(302, "", {"Location": "/"}, id="elsewhere"),
        pytest.param(404, "?", {}, id="unknown log"),
        pytest.param(503, "", {}, id="unwell"),
        pytest.param(409, "3\n", SIZE, id="always another size"),
    ],
)
async def test_an_answer_without_a_cosignature_is_a_failure_and_none_is_kept(
    log: WatchedLog, status: int, text: str, headers: dict[str, str]
) -> None:
    await log.write(5)
    head = await log.seal()
    carrying = courier(log, KnownWitness("http://witness.example", COSIGNER.key))
    link = log.link("courier")
    async with (
        link.connection() as connection,
        answering(status, text, **headers) as client,
    ):
        assert await carrying.carry(connection, client, head) is Outcome.FAILED
    link.drop()
    assert not await log.cosignatures()


class Endless(httpx.AsyncByteStream):
    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            await asyncio.sleep(0)


async def test_an_answer_without_an_end_is_a_failure_at_once(log: WatchedLog) -> None:
    await log.write(5)
    head = await log.seal()
    endless = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    carrying = courier(log, KnownWitness("http://witness.example", COSIGNER.key))
    link = log.link("courier")
    async with (
        asyncio.timeout(5),
        link.connection() as connection,
        httpx.AsyncClient(transport=endless) as client,
    ):
        assert await carrying.carry(connection, client, head) is Outcome.FAILED
    link.drop()


async def test_a_head_overtaken_by_a_newer_of_ours_is_no_alarm(log: WatchedLog) -> None:
    await log.write(5)
    head = await log.seal()
    await log.write(5)
    await log.seal()
    carrying = courier(log, KnownWitness("http://witness.example", COSIGNER.key))
    link = log.link("courier")
    async with (
        link.connection() as connection,
        answering(409, "10\n", **SIZE) as client,
    ):
        assert await carrying.carry(connection, client, head) is Outcome.FAILED
    link.drop()


# The protocol, over HTTP.


def note(size: int, root: bytes = bytes(32), signer: Signer = SIGNER) -> str:
    return signer.sign(Checkpoint(signer.key.name, size, root))


async def test_a_witness_answers_each_refusal_as_the_protocol_says(
    witness: Served,
) -> None:
    url = f"{witness.url}/add-checkpoint"
    hashes = [bytes([n]) * 32 for n in range(3)]
    two = merkle.node_hash(hashes[0], hashes[1])
    three = merkle.node_hash(two, hashes[2])
    unknown = Signer("other.example", bytes(32))
    forger = Signer(ORIGIN, bytes(32))

    async with httpx.AsyncClient() as client:

        async def ask(
            old: int, note: str, proof: list[bytes] | None = None
        ) -> tuple[int, str]:
            body = Submission(old, proof or [], note).body
            answer = await client.post(url, content=body)
            kind = answer.headers["content-type"].partition(";")[0]
            told = answer.text if kind == "text/x.tlog.size" else ""
            return answer.status_code, told

        assert await ask(0, note(1, signer=unknown)) == (404, "")
        assert await ask(0, note(1, signer=forger)) == (403, "")
        assert await ask(2, note(1)) == (400, "")
        assert await ask(1, note(1)) == (409, "0\n")
        assert await ask(0, note(2, two), [hashes[0]]) == (422, "")
        assert await ask(0, note(2, two)) == (200, "")
        assert await ask(0, note(2, two)) == (409, "2\n")
        assert await ask(2, note(2, hashes[0])) == (409, "")
        assert await ask(2, note(3, three), [hashes[1]]) == (422, "")
        assert await ask(2, note(3, three), [hashes[2]]) == (200, "")
        assert (await client.post(url, content=b"old x")).status_code == 400
        assert (await client.get(url)).status_code == 405
        assert (await client.get(witness.url)).status_code == 404


# The table.


async def test_no_role_can_change_a_cosignature(database: Database) -> None:
    for role in ("hot", "admin", "auditor", "sealer", "registry"):
        connection = await asyncpg.connect(database.dsn(role))
        for statement in (
            "UPDATE cosignatures SET line = line",
            "DELETE FROM cosignatures",
            "TRUNCATE cosignatures",
        ):
            refusals = (
                asyncpg.InsufficientPrivilegeError,
                asyncpg.UndefinedTableError,
            )
            with pytest.raises(refusals):
                await connection.execute(statement)
        await connection.close()


async def test_a_cosignature_is_of_a_checkpoint_and_of_its_witness(
    log: WatchedLog, superuser: Connection
) -> None:
    await log.write(1)
    await log.seal()
    insert = "INSERT INTO cosignatures (size, witness, line) VALUES ($1, $2, $3)"
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await superuser.execute(insert, 2, "w", "\u2014 w AAAA")
    for line in ("\u2014 other AAAA", "\u2014 w AAAA\n\u2014 other AAAA"):
        with pytest.raises(asyncpg.CheckViolationError):
            await superuser.execute(insert, 1, "w", line)

"""The head of the log: the newest, or one that witnesses have cosigned."""

import asyncio
from typing import Final

import asyncpg
import pytest

from gateway.audit.cosignature import Cosigner
from tests.acceptance import questions
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

WITNESSES: Final = [
    Cosigner(f"witness.example/{name}", bytes([number]) * 32)
    for number, name in enumerate(("a", "b"), start=1)
]


async def checkpoint(service: Service, query: str = "") -> Answer:
    return await service.ask("GET", f"/log/checkpoint{query}")


def size_of(note: str) -> int:
    return int(note.split("\n")[1])


async def newest(service: Service, *, above: int = 0) -> str:
    """The newest note, of a log that has grown above a size."""
    await service.put(questions.account(service.newcomer()))
    async with asyncio.timeout(10):
        while True:
            answer = await checkpoint(service)
            if answer.status == 200 and size_of(answer.body.decode()) > above:
                return answer.body.decode()
            await asyncio.sleep(0.2)


async def cosign(service: Service, note: str, *witnesses: Cosigner) -> None:
    """Keeps cosignatures of a note, as the couriers of the sealer would."""
    connection = await asyncpg.connect(service.environment["GATEWAY_SEALER_DSN"])
    text, at = note.rpartition("\n\n")[0] + "\n", 1_800_000_000
    for witness in witnesses:
        await connection.execute(
            "INSERT INTO cosignatures (size, witness, line) VALUES ($1, $2, $3)",
            *(size_of(note), witness.key.name, witness.cosign(text, at)),
        )
    await connection.close()


async def test_a_head_is_had_with_as_many_cosignatures_as_are_asked_for(
    service: Service,
) -> None:
    first = await newest(service)
    await cosign(service, first, *WITNESSES)
    second = await newest(service, above=size_of(first))
    await cosign(service, second, WITNESSES[0])
    third = await newest(service, above=size_of(second))
    one, two = WITNESSES
    for query, size, signed in (
        ("?cosigned=2", size_of(first), (True, True)),
        ("?cosigned=1", size_of(second), (True, False)),
    ):
        answer = await checkpoint(service, query)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        note = answer.body.decode()
        assert size_of(note) == size
        assert (one.key.verifies(note), two.key.verifies(note)) == signed
    for query in ("", "?cosigned=0"):
        note = (await checkpoint(service, query)).body.decode()
        assert size_of(note) >= size_of(third)
    proof = f"/log/proof/consistency?from={size_of(first)}&to={size_of(third)}"
    assert (await service.ask("GET", proof)).status == 200
    journal = await service.ask("GET", "/ops/journal", key=service.staff["ops"])
    told = journal.json["sealing"]["cosigned"]
    assert {name: kept["size"] for name, kept in told.items()} == {
        one.key.name: size_of(second),
        two.key.name: size_of(first),
    }


async def test_a_head_with_more_cosignatures_than_any_is_not_found(
    service: Service,
) -> None:
    await newest(service)
    answer = await checkpoint(service, "?cosigned=32")
    assert (answer.status, answer.reason) == (404, "not-found")


@pytest.mark.parametrize("query", ["cosigned=33", "cosigned=", "cosigned=a", "size=1"])
async def test_a_checkpoint_that_cannot_be_asked_for_is_refused(
    service: Service, query: str
) -> None:
    answer = await checkpoint(service, f"?{query}")
    assert (answer.status, answer.reason) == (400, "invalid-request")
    pointers = [fault["pointer"] for fault in answer.json["errors"]]
    assert pointers == [f"?{query.partition('=')[0]}"]

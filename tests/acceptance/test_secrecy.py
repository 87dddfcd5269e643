"""No NIK, no resident and no key is found anywhere outside the registry.

Canaries are asked about in every way that a caller can get wrong; then all that the
gateway and its servers keep or say is searched for them: tables, files, Redis, metrics.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg
import pytest
from redis.asyncio import Redis

from gateway.redis import open_server
from gateway.registry.resident import Resident
from gateway.vocabulary import RESIDENT_FIELDS
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import entries
from tests.acceptance.questions import UNKNOWN_NIK, nik_of
from tests.acceptance.service import LOG, Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

CANARIES: Final = 5
# Of a person these are told apart from words that stand in a log by right.
TELLING: Final = ("nik", "kk", "name", "mother_name", "father_name", "address")
SHORTEST: Final = 10
JSON: Final = {"Content-Type": "application/json"}


def canaries(service: Service) -> list[Resident]:
    telling = [
        one
        for one in service.residents[900:]
        if all(len(one[field] or "") >= SHORTEST for field in TELLING)
    ]
    assert len(telling) >= CANARIES
    return telling[:CANARIES]


def needles(residents: list[Resident], keys: list[str]) -> list[bytes]:
    """What must not be found: as text, a NIK also as the database's eight bytes."""
    texts = [one[field] or "" for one in residents for field in TELLING]
    # The part of a key after its id, so that it is found without its beginning too.
    texts += [key[17:] for key in keys]
    numbers = [int(nik_of(one)).to_bytes(8, "big") for one in residents]
    return [text.encode() for text in texts] + numbers


async def ask_lawfully(service: Service, caller: Caller, one: Resident) -> None:
    nik = nik_of(one)
    wrong = dict.fromkeys(("name", "birth_date"), "1801-01-01")
    for question in (
        questions.verify(caller, nik, questions.true_claims(one, "name", "address")),
        questions.verify(
            caller, nik, questions.true_claims(one, "mother_name"), purpose="kyc"
        ),
        questions.verify(caller, nik, wrong),
        questions.fetch(caller, nik, ["name", "address"]),
        questions.fetch(caller, nik, list(RESIDENT_FIELDS)),
    ):
        assert (await service.put(question)).status in {200, 403}
    claims = questions.true_claims(one, "name", "address")
    for _ in range(2):
        # Whatever a caller makes its keys of.
        repeated = await service.ask(
            "POST",
            "/v1/verify",
            key=caller.key,
            json=questions.verify(caller, nik, claims).json,
            headers={"Idempotency-Key": nik},
        )
        assert repeated.status == 200
    answer = await service.ask(
        "POST",
        "/audit/subject-searches",
        key=service.staff["auditor"],
        json={"nik": nik, "reason": "canary"},
    )
    assert answer.status == 200


def mistaken_bodies(caller: Caller, one: Resident) -> Iterator[bytes]:
    """Bodies that say too much in the wrong place."""
    nik, name = nik_of(one), one["name"] or ""
    whole: dict[str, object] = {"nik": nik, "purpose": "kyc", "claims": {"name": name}}
    for change in (
        {nik: name},
        {name: nik},
        {"claims": {nik: name, name: nik, "name": name * 20}},
        {"fields": [nik, name]},
        {"purpose": nik},
        {"purpose": name},
        {"reference": nik},
        {"reference": f"about {nik}"},
        {"operator": nik},
        {"operator": name * 20},
        {"nik": f"{nik}0"},
        {"nik": int(nik)},
        {"nik": [nik]},
        {"key": caller.key},
        {"nik": name},
        {"claims": {"birth_date": nik, "name": f"{name}\0"}},
    ):
        yield json.dumps(whole | change).encode()
    yield json.dumps(whole).encode() + b"}"
    yield f"nik={nik}&name={name}".encode()
    yield json.dumps(whole).encode("utf-16")
    yield json.dumps({**whole, "claims": {"name": name * 2000}}).encode()
    yield b'{"nik": "%s", "nik": "%s"}' % (nik.encode(), nik.encode())


def mistaken_targets(caller: Caller, one: Resident) -> Iterator[str]:
    """Addresses that say what belongs into a body or a header."""
    nik, name = nik_of(one), quote(one["name"] or "")
    yield f"/audit/entries?reason={nik}"
    for said in (nik, name):
        yield f"/v1/account?{said}=1"
        yield f"/audit/entries?reason=canary&{said}=1"
    for said in (nik, name, caller.key):
        for path in ("/v1/account", "/v1/verify", "/audit/entries", "/health/ready"):
            yield f"{path}?reason=canary&x={said}"
        yield f"/{said}"
        yield f"/v1/{said}"
        yield f"/v1/verify/{said}"
        yield f"/problems/{said}"
        yield f"/audit/entries/{said}?reason=canary"
        yield f"/audit/entries?reason=canary&key={said}"
        yield f"/audit/entries?reason=canary&cursor={said}"
        yield f"/audit/entries?reason=canary&from={said}"


def mistaken_headers(caller: Caller, nik: str) -> Iterator[dict[str, str]]:
    yield {"X-Nik": nik, "User-Agent": nik, "Referer": f"/{nik}", "Cookie": nik}
    yield {"X-Key": caller.key, "Cookie": f"key={caller.key}"}
    yield {"Content-Type": nik, "Traceparent": nik, "X-Request-Id": nik}
    yield {"Authorization": f"Bearer {nik}"}
    yield {"Authorization": f"Basic {caller.key}"}
    yield {"X-Forwarded-For": nik, "Idempotency-Key": nik}


async def make_mistakes(service: Service, caller: Caller, one: Resident) -> None:
    """No answer repeats what it was sent wrongly."""
    said = needles([one], [caller.key])
    for body in mistaken_bodies(caller, one):
        for path in ("/v1/verify", "/v1/fetch"):
            answer = await service.ask(
                "POST", path, key=caller.key, body=body, headers=JSON
            )
            assert 400 <= answer.status < 500, body
            check_silent(answer, said)
    for target in mistaken_targets(caller, one):
        for key in (caller.key, service.staff["auditor"], None):
            check_silent(await service.ask("GET", target, key=key), said)
    for headers in mistaken_headers(caller, nik_of(one)):
        for path in ("/v1/account", "/v1/verify"):
            answer = await service.ask("POST", path, headers=headers, body=b"{")
            check_silent(answer, said)


def check_silent(answer: Answer, said: list[bytes]) -> None:
    told = answer.body + repr(dict(answer.headers)).encode()
    assert not found_in(told, said)


def found_in(content: bytes, wanted: list[bytes]) -> list[bytes]:
    return [needle for needle in wanted if needle in content]


def found_below(folder: Path, wanted: list[bytes]) -> dict[str, list[bytes]]:
    """Files below a folder that hold any of it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found = {path.name: found_in(path.read_bytes(), wanted) for path in files}
    return {name: held for name, held in found.items() if held}


async def tables(service: Service) -> dict[str, bytes]:
    """Every row of every table of the log's database as text, the registry's apart."""
    superuser = await asyncpg.connect(service.log.dsn(database=LOG))
    try:
        names = await superuser.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class"
            " WHERE relkind IN ('r', 'm') AND relnamespace NOT IN ("
            "'registry'::regnamespace, 'pg_catalog'::regnamespace,"
            " 'information_schema'::regnamespace, 'pg_toast'::regnamespace)"
        )
        return {
            row["name"]: "\n".join(
                one[0]
                for one in await superuser.fetch(f"SELECT t::text FROM {row['name']} t")
            ).encode()
            for row in names
        }
    finally:
        await superuser.close()


async def value_of(redis: Redis, key: bytes) -> object:
    kind = await redis.type(key)
    if kind == b"hash":
        return await redis.hgetall(key)
    assert kind == b"string", f"this test does not know how to read a {kind!r}"
    return await redis.get(key)


async def redis_content(service: Service) -> bytes:
    """Every key and value, read as they are and as the server dumps them."""
    async with open_server(service.valkey.url) as redis:
        content = [
            repr((key, await value_of(redis, key))).encode()
            + (await redis.dump(key) or b"")
            async for key in redis.scan_iter(count=1000)
        ]
    assert content
    return b"\n".join(content)


async def test_no_nik_and_no_key_is_found_anywhere_outside_the_registry(
    service: Service,
) -> None:
    people, caller = canaries(service), service.newcomer()
    for one in people:
        await ask_lawfully(service, caller, one)
        await make_mistakes(service, caller, one)
    await asyncio.sleep(1.2)
    await check_it_was_asked(service, people)
    samples = [service.sample(word).key for word in ("bank", "hospital", "bulk")]
    wanted = needles(people, [caller.key, *samples, *service.staff.values()])
    kept = await tables(service)
    for name, rows in kept.items():
        assert not found_in(rows, wanted), name
    assert kept["idempotency_answers"]
    assert not found_in(await redis_content(service), wanted)
    assert not found_in((await service.ask("GET", "/metrics")).body, wanted)
    for folder in (
        service.log.folder,
        service.valkey.folder,
        service.registry.folder / "log",
    ):
        assert not await asyncio.to_thread(found_below, folder, wanted)
    logs = await asyncio.to_thread(list, service.folder.glob("*.log"))
    assert service.gateway.log_file in logs
    for path in logs:
        assert not found_in(await asyncio.to_thread(path.read_bytes), wanted), path


async def check_it_was_asked(service: Service, people: list[Resident]) -> None:
    """The search would find what it looks for, and the calls did reach the log."""
    held = await asyncio.to_thread(
        found_below, service.registry.folder, needles(people, [])
    )
    assert held
    for one in people:
        subject = service.subjects.reference(nik_of(one))
        entered = await entries(
            service.auditor_dsn, "e.subject_head = $1", subject.head
        )
        # Other tests may have asked about the same people.
        assert {entry["operation"] for entry in entered} >= {
            "verify",
            "fetch",
            "audit.subject-search",
        }


async def test_a_key_written_into_a_free_text_is_refused_and_reaches_no_log(
    service: Service,
) -> None:
    caller = service.newcomer()
    whole = {"nik": UNKNOWN_NIK, "purpose": "kyc", "claims": {"name": "A"}}
    for member in ("reference", "operator"):
        answer = await service.ask(
            "POST", "/v1/verify", key=caller.key, json={**whole, member: caller.key}
        )
        assert answer.status in {400, 401}, member
    answer = await service.ask(
        "GET",
        f"/audit/entries?reason={caller.key}",
        key=service.staff["auditor"],
    )
    assert answer.status in {400, 401}
    for name, rows in (await tables(service)).items():
        assert not found_in(rows, needles([], [caller.key])), name

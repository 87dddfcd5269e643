"""Who is let in: keys, staff tokens, addresses, and how soon a dead key is dead."""

import asyncio
import json
import time
from dataclasses import replace
from itertools import count
from typing import Final

import pytest

from gateway.clock import SECOND
from gateway.partners import keeping, keys
from gateway.partners.keys import Environment, Kind
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.ledger import entries
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

DEAD_WITHIN: Final = 1.0
# A fresh address for each unauthenticated call, so that none is counted as a flood.
sources = (f"127.0.5.{last}" for last in count(1))


async def account_with(service: Service, text: str) -> Answer:
    return await service.ask("GET", "/v1/account", key=text, source=next(sources))


def forged(text: str) -> str:
    """The id of a real key, another secret, and a checksum that is right."""
    body = text[:17] + "0" * keys.SECRET_LENGTH
    return body + keys.checksum(body)


async def revoke(service: Service, caller: Caller) -> None:
    async with service.admin() as admin:
        await keeping.revoke_key(admin, caller.key_id)


async def test_a_revoked_key_is_dead_on_every_worker_within_a_second(
    service: Service,
) -> None:
    caller = service.newcomer()
    workers = service.gateway.workers()
    assert len(workers) == 2
    for pid in workers:
        async with service.gateway.connection_to(pid) as connection:
            alive = await questions.account(caller).put(connection)
            assert alive.status == 200
    await revoke(service, caller)
    revoked = time.monotonic()
    for pid in workers:
        async with service.gateway.connection_to(pid) as connection:
            while (await questions.account(caller).put(connection)).status != 401:
                assert time.monotonic() < revoked + DEAD_WITHIN
    assert time.monotonic() <= revoked + DEAD_WITHIN


async def test_a_key_is_dead_from_its_end(service: Service) -> None:
    caller = await service.make_caller(key_ends_in=2 * SECOND)
    alive = await service.put(questions.account(caller))
    assert alive.status == 200
    assert alive.json["key"]["not_after"].endswith("Z")
    await asyncio.sleep(1.1)
    assert (await service.put(questions.account(caller))).status == 401


async def test_two_keys_of_an_institution_live_at_once(service: Service) -> None:
    caller = service.newcomer()
    async with service.admin() as admin:
        second = await keeping.create_key(
            admin,
            service.peppers,
            institution=caller.institution,
            not_after=None,
            cidrs=None,
            environment=Environment.TEST,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    for text, key_id in ((caller.key, caller.key_id), (second.text, second.id)):
        answer = await account_with(service, text)
        assert answer.status == 200
        assert answer.json["key"]["id"] == key_id
        assert answer.json["institution"]["id"] == caller.institution


async def test_a_refused_credential_is_not_told_why(service: Service) -> None:
    revoked, expired = service.newcomer(), await service.make_caller(key_ends_in=1)
    await revoke(service, revoked)
    await asyncio.sleep(KNOWN_EVERYWHERE)
    good = service.newcomer().key
    presented = {
        "missing": None,
        "not a key": "hunter2",
        "mistyped": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "unknown": keys.make(Kind.INSTITUTION, Environment.TEST).text,
        "forged": forged(good),
        "revoked": revoked.key,
        "expired": expired.key,
        "unknown staff": keys.make(Kind.STAFF, Environment.LIVE).text,
    }
    bodies = set()
    for text in presented.values():
        answer = await service.ask("GET", "/v1/account", key=text, source=next(sources))
        assert (answer.status, answer.reason) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
        document = answer.json
        assert document.pop("access_id") == answer.access_id
        bodies.add(json.dumps(document))
    assert len(bodies) == 1


async def test_a_key_of_which_only_the_id_is_right_is_named_in_the_log(
    service: Service,
) -> None:
    caller = service.newcomer()
    answer = await account_with(service, forged(caller.key))
    assert answer.status == 401
    (entry,) = await entries(service.auditor_dsn, "k.id = $1", caller.key_id)
    assert entry["access_id"] == answer.access_id
    assert entry["actor"] == "unidentified"
    assert entry["institution"] is None


async def test_a_key_is_taken_from_the_authorization_header_alone(
    service: Service,
) -> None:
    key = service.newcomer().key
    body = {"nik": "9" * 16, "purpose": "kyc", "claims": {"name": "A"}, "key": key}
    for answer in (
        await service.ask("GET", f"/v1/account?key={key}", source=next(sources)),
        await service.ask(
            "GET", f"/v1/account?access_token={key}", source=next(sources)
        ),
        await service.ask("POST", "/v1/verify", json=body, source=next(sources)),
        await service.ask(
            "GET",
            "/v1/account",
            headers={"X-Api-Key": key, "Cookie": f"key={key}"},
            source=next(sources),
        ),
        await service.ask(
            "GET",
            "/v1/account",
            headers={"Authorization": f"Basic {key}"},
            source=next(sources),
        ),
        await service.ask(
            "GET",
            "/v1/account",
            headers={"Authorization": f"Bearer {key}\r\nAuthorization: Bearer {key}"},
            source=next(sources),
        ),
    ):
        assert (answer.status, answer.reason) == (401, "unauthenticated")
        assert key.encode() not in answer.body


async def test_a_key_is_admitted_from_its_own_networks_only(service: Service) -> None:
    caller = await service.make_caller(cidrs=["127.0.6.0/30", "127.0.7.1/32"])
    for source, status in (
        ("127.0.6.1", 200),
        ("127.0.6.3", 200),
        ("127.0.7.1", 200),
        ("127.0.6.4", 403),
        ("127.0.7.2", 403),
    ):
        answer = await service.put(questions.account(caller), source=source)
        assert answer.status == status
        if status == 403:
            assert answer.reason == "address-not-allowed"
            (entry,) = await entries(
                service.auditor_dsn,
                "k.id = $1 AND e.address = $2",
                caller.key_id,
                source,
            )
            assert entry["institution"] == caller.institution


async def test_an_address_told_by_the_caller_counts_for_nothing(
    service: Service,
) -> None:
    caller = await service.make_caller(cidrs=["127.0.6.0/30"])
    claimed = {"X-Forwarded-For": "127.0.6.1", "Forwarded": "for=127.0.6.1"}
    answer = await service.ask(
        "GET", "/v1/account", key=caller.key, headers=claimed, source="127.0.8.1"
    )
    assert (answer.status, answer.reason) == (403, "address-not-allowed")


@pytest.mark.parametrize("role", ["auditor", "ops", "admin"])
async def test_staff_reach_no_route_of_institutions(
    service: Service, role: str
) -> None:
    staff = replace(service.newcomer(), key=service.staff[role])
    for question in (
        questions.verify(staff, "9" * 16, {"name": "A"}),
        questions.fetch(staff, "9" * 16, ["name"]),
        questions.account(staff),
    ):
        answer = await service.put(question)
        assert (answer.status, answer.reason) == (403, "forbidden")
        entered = await entries(
            service.auditor_dsn, "e.reason::integer = 2 AND k.id = $1", staff.key[9:17]
        )
        assert answer.access_id == entered[-1]["access_id"]
        assert entered[-1]["actor"] == role


async def test_only_auditors_reach_the_routes_of_auditors(service: Service) -> None:
    others = [service.newcomer().key, service.staff["ops"], service.staff["admin"]]
    for text in others:
        for answer in (
            await service.ask("GET", "/audit/entries?reason=curious", key=text),
            await service.ask(
                "POST",
                "/audit/subject-searches",
                key=text,
                json={"nik": "9" * 16, "reason": "curious"},
            ),
            await service.ask(
                "GET",
                "/audit/entries/01a21017-72c5-7000-8020-000000000000?reason=curious",
                key=text,
            ),
        ):
            assert (answer.status, answer.reason) == (403, "forbidden")
            assert answer.access_id is not None
            assert b"entries" not in answer.body

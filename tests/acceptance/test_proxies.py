"""Behind proxies of ours: the entry and the allow list are of whom they ask for."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance import nginx, questions
from tests.acceptance.callers import Caller
from tests.acceptance.certificates import HEADER, bind, escaped
from tests.acceptance.ledger import Entry, of_institution
from tests.acceptance.service import Service
from tests.acceptance.serving import Gateway
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

PROXY: Final = "127.0.9.1"
CALLER: Final = "203.0.113.7"
# Far more than an address has at once, however slow the machine is.
MANY: Final = 5_000
OF_ITS_OWN: Final = frozenset({"access-id", "date", "content-length"})


@pytest.fixture(scope="module")
async def behind(service: Service) -> AsyncIterator[Gateway]:
    """A gateway that trusts one address more than `service` does."""
    async with service.second_gateway(GATEWAY_TRUSTED_PROXIES=PROXY) as gateway:
        yield gateway


async def ask(
    gateway: Gateway, caller: Caller, source: str, headers: Mapping[str, str]
) -> Answer:
    question = questions.verify(caller, questions.UNKNOWN_NIK, {"name": "SITI"})
    async with Connection.opened(gateway.port, source=source) as connection:
        asked: Any = {"key": caller.key, "json": question.json, "headers": headers}
        return await connection.ask(question.method, question.target, **asked)


async def entry_of(service: Service, caller: Caller, answer: Answer) -> Entry:
    made = await of_institution(service.auditor_dsn, caller.institution)
    (entry,) = [one for one in made if one["access_id"] == answer.access_id]
    return entry


@pytest.mark.parametrize(
    ("source", "told", "address"),
    [
        (PROXY, CALLER, CALLER),
        (PROXY, f"::ffff:{CALLER}", CALLER),
        (PROXY, f"198.51.100.1, {CALLER}", CALLER),
        (PROXY, "unknown", PROXY),
        ("127.0.9.2", CALLER, "127.0.9.2"),
    ],
)
async def test_an_entry_has_the_address_of_whom_the_proxy_asks_for(
    service: Service, behind: Gateway, source: str, told: str, address: str
) -> None:
    caller = service.newcomer()
    answer = await ask(behind, caller, source, {"X-Forwarded-For": told})
    assert answer.status == 200
    assert (await entry_of(service, caller, answer))["address"] == address


async def test_a_gateway_without_proxies_believes_no_header(service: Service) -> None:
    caller = service.newcomer()
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        answer = await ask(service.gateway, caller, PROXY, {name: CALLER})
        assert (await entry_of(service, caller, answer))["address"] == PROXY


async def test_a_key_is_admitted_from_its_networks_through_the_proxy_alone(
    service: Service, behind: Gateway
) -> None:
    caller = await service.make_caller(cidrs=["203.0.113.0/24"])
    told = {"X-Forwarded-For": CALLER}
    assert (await ask(behind, caller, PROXY, told)).status == 200
    elsewhere = {"X-Forwarded-For": f"{CALLER}, 198.51.100.1"}
    for source, headers in ((PROXY, elsewhere), (PROXY, {}), ("127.0.9.2", told)):
        refused = await ask(behind, caller, source, headers)
        assert refused.reason == "address-not-allowed"


async def test_a_bound_key_is_accepted_with_its_certificate_through_the_proxy_alone(
    service: Service, behind: Gateway, tmp_path: Path
) -> None:
    for stem in ("ours", "next", "other"):
        nginx.write_certificate(tmp_path, stem, "bank.example")
    caller = service.newcomer()
    await bind(service, caller, tmp_path / "ours.pem", tmp_path / "next.pem")
    ours, following, other = (
        escaped(tmp_path / f"{stem}.pem") for stem in ("ours", "next", "other")
    )
    for shown in (ours, following):
        assert (await ask(behind, caller, PROXY, {HEADER: shown})).status == 200
    wrong = await ask(
        behind, replace(caller, key=service.newcomer().key[:-1]), PROXY, {}
    )
    for source, headers in (
        (PROXY, {}),
        (PROXY, {HEADER: other}),
        (PROXY, {HEADER: ours, HEADER.lower(): ours}),
        ("127.0.9.2", {HEADER: ours}),
    ):
        refused = await ask(behind, caller, source, headers)
        assert refused.status == wrong.status == 401
        assert told(refused) == told(wrong)
        entry = await entry_of(service, caller, refused)
        assert (entry["outcome"], entry["reason"]) == ("refused", "unauthenticated")
        assert (entry["actor"], entry["key"]) == ("institution", caller.key_id)


def told(answer: Answer) -> tuple[dict[str, str], dict[str, Any]]:
    """All that a refusal says, but for what names this one."""
    headers = {n: v for n, v in answer.headers.items() if n not in OF_ITS_OWN}
    return headers, {n: v for n, v in answer.json.items() if n != "access_id"}


async def test_what_is_bounded_by_address_is_bounded_by_the_callers(
    behind: Gateway,
) -> None:
    async with Connection.opened(behind.port, source=PROXY) as connection:

        async def status(told: str) -> int:
            headers = {"X-Forwarded-For": told}
            return (await connection.ask("GET", "/log/key", headers=headers)).status

        for _ in range(MANY):
            if await status("203.0.113.50") == 429:
                break
        else:
            pytest.fail("the caller's address is not bounded")
        assert await status("203.0.113.51") == 200

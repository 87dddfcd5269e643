"""The nginx in front that we describe: TLS, the caller's address, limits, problems."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance import nginx, questions
from tests.acceptance.browsing import Browser
from tests.acceptance.callers import Caller
from tests.acceptance.certificates import HEADER, bind, escaped
from tests.acceptance.ledger import entries, of_institution
from tests.acceptance.nginx import NAME, Nginx
from tests.acceptance.service import Service
from tests.acceptance.serving import Gateway
from tests.acceptance.wire import HERE, Answer

pytestmark = [pytest.mark.acceptance]

# Fewer than make a flood.
UNREAD: Final = 8
KEY_IN_QUERY: Final = "gdk_test_inTheQueryByMistake"
JSON: Final = {"Content-Type": "application/json"}
MARKS: Final = ("ssl_client_certificate ", "ssl_verify_client ")
MTLS: Final = {f"#{mark}": mark for mark in MARKS}
PROBLEM: Final = "application/problem+json"


@pytest.fixture(scope="module")
async def behind(service: Service) -> AsyncIterator[Gateway]:
    """A gateway that trusts an nginx here."""
    nginx.program()
    async with service.second_gateway(GATEWAY_TRUSTED_PROXIES=HERE) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def front(
    behind: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    async with nginx.running(folder, behind.port) as front:
        yield front


@pytest.mark.parametrize("changes", [{}, MTLS], ids=["plain", "mtls"])
def test_nginx_takes_the_configuration(tmp_path: Path, changes: dict[str, str]) -> None:
    program = nginx.program()
    for stem in ("gateway", "clients"):
        nginx.write_certificate(tmp_path, stem, NAME)
    path = nginx.write_configuration(tmp_path, 8443, 8000, changes)
    said = subprocess.run(  # noqa: S603 - found by its name, our own file
        [program, "-t", "-e", str(tmp_path / "error.log"), "-c", str(path)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert said.returncode == 0, said.stderr


async def test_a_call_is_answered_and_entered_with_the_callers_address(
    service: Service, front: Nginx
) -> None:
    caller = service.newcomer()
    question = questions.verify(caller, questions.UNKNOWN_NIK, {"name": "SITI"})
    spoofed = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    async with front.connection(source="127.0.10.1") as connection:
        for _ in range(3):
            answer = await connection.ask(
                *(question.method, question.target),
                key=caller.key,
                json=question.json,
                headers=spoofed,
            )
            assert answer.status == 200
            assert "max-age=" in answer.headers["strict-transport-security"]
    made = await of_institution(service.auditor_dsn, caller.institution)
    assert [entry["address"] for entry in made] == ["127.0.10.1"] * 3


async def test_what_is_too_long_is_refused_by_the_gateway_and_far_beyond_by_nginx(
    service: Service, front: Nginx
) -> None:
    caller = service.newcomer()
    sizes = {"/v1/verify": (16_385, 65_537), "/v1/batch": (2**20 + 1, 2**21 + 1)}
    for target, (over, far) in sizes.items():
        for size, by_gateway in ((over, True), (far, False)):
            async with front.connection() as connection:
                answer = await connection.ask(
                    "POST", target, key=caller.key, body=b" " * size, headers=JSON
                )
            assert (answer.status, answer.reason) == (413, "payload-too-large")
            assert ("access-id" in answer.headers) is by_gateway
    made = await of_institution(service.auditor_dsn, caller.institution)
    assert [entry["reason"] for entry in made] == ["payload-too-large"] * len(sizes)


async def hand_in(front: Nginx, key: str | None, lines: int, source: str) -> Answer:
    """A job of lines that say nothing."""
    async with front.connection(source=source) as connection:
        return await connection.ask(
            *("POST", "/v1/jobs?operation=verify&purpose=kyc"),
            key=key,
            body=b"{}\n" * lines,
            headers={"Content-Type": "application/x-ndjson"},
        )


async def test_a_job_that_is_longer_than_any_buffer_is_passed_on(
    service: Service, front: Nginx
) -> None:
    caller = service.newcomer()
    answer = await hand_in(front, caller.key, 50_000, HERE)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    (entry,) = await of_institution(service.auditor_dsn, caller.institution)
    assert entry["access_id"] == answer.access_id


async def test_a_job_that_is_refused_unread_is_entered_and_no_fault_of_its_length(
    service: Service, front: Nginx
) -> None:
    # nginx is still writing as it comes.
    for _ in range(UNREAD):
        answer = await hand_in(front, None, 2**20, "127.0.10.4")
        assert (answer.status, answer.reason) == (401, "unauthenticated")
    made = await entries(service.auditor_dsn, "e.address = '127.0.10.4'")
    assert [entry["reason"] for entry in made] == ["unauthenticated"] * UNREAD


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/health/live", {"X-Long": "a" * 9_000}, 431),
        ("/health/live", {f"X-{n}": "a" * 4_000 for n in range(9)}, 431),
        ("/health/live?" + "a" * 9_000, {}, 414),
        ("/health/live", {"Content-Length": "-1"}, 400),
    ],
)
async def test_what_nginx_refuses_is_a_problem_document(
    front: Nginx, target: str, headers: dict[str, str], status: int
) -> None:
    async with front.connection() as connection:
        answer = await connection.ask("GET", target, headers=headers)
    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.headers["content-type"] == PROBLEM


def at_most(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Or OpenSSL itself would offer nothing below 1.2.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_1_1_is_refused_and_1_2_is_not(front: Nginx) -> None:
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        async with front.connection(context=at_most(ssl.TLSVersion.TLSv1_1)):
            pass
    async with front.connection(context=at_most(ssl.TLSVersion.TLSv1_2)) as connection:
        assert (await connection.ask("GET", "/health/live")).status == 200


async def test_events_of_a_live_page_come_as_they_are_made(
    service: Service, front: Nginx
) -> None:
    browser = Browser(service, "127.0.10.2")
    assert (await browser.sign_in(service.staff["ops"])).status == 303
    async with front.connection() as connection:
        head = f"Host: localhost\r\nCookie: {browser.cookie}\r\n"
        asked = f"GET /console/ops/stream HTTP/1.1\r\n{head}\r\n"
        connection.writer.write(asked.encode())
        assert b" 200 " in await connection.reader.readuntil(b"\r\n")
        await connection.reader.readuntil(b"event: ")
        # A stream lasts six seconds: one that is held back comes with its end.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await connection.reader.readuntil(b"\r\n0\r\n\r\n")


async def test_nothing_that_a_caller_sent_is_in_what_nginx_writes(front: Nginx) -> None:
    before = len(front.written)
    for target, body in (("/v1/verify", b" " * 65_537), ("/v1/account", b"")):
        async with front.connection() as connection:
            asked = f"{target}?key={KEY_IN_QUERY}"
            headers = {**JSON, "Referer": KEY_IN_QUERY, "User-Agent": KEY_IN_QUERY}
            answer = await connection.ask("POST", asked, body=body, headers=headers)
            assert answer.status in {401, 405, 413}
    while len(front.written) == before:  # noqa: ASYNC110 - a file tells no event
        await asyncio.sleep(0.05)
    assert KEY_IN_QUERY not in front.written
    assert "/v1/" not in front.written


async def account(
    front: Nginx, caller: Caller, stem: str | None, **headers: str
) -> Answer:
    """The caller's, over a connection with the certificate of that name, or with none."""
    context = front.trusting()
    if stem is not None:
        context.load_cert_chain(
            front.folder / f"{stem}.pem", front.folder / f"{stem}.key"
        )
    async with front.connection(context=context) as connection:
        return await connection.ask(
            "GET", "/v1/account", key=caller.key, headers=headers
        )


async def test_with_the_marks_taken_away_a_bound_key_needs_its_certificate(
    service: Service, behind: Gateway, front: Nginx, tmp_path: Path
) -> None:
    free, bound = service.newcomer(), service.newcomer()
    async with nginx.running(tmp_path, behind.port, MTLS) as asking:
        await bind(service, bound, tmp_path / "clients.pem")
        nginx.write_certificate(tmp_path, "stranger", "bank.example")
        assert (await account(asking, bound, "clients")).status == 200
        refused = await account(asking, bound, None)
        assert refused.reason == "unauthenticated"
        # What no authority of ours signed is let in nowhere, by nginx itself.
        assert (await account(asking, bound, "stranger")).status == 400
        for stem in ("clients", None):
            assert (await account(asking, free, stem)).status == 200
        # Whoever sends the certificate, which is no secret, in a header of his own.
        told = {HEADER: escaped(tmp_path / "clients.pem")}
        for one in (asking, front):
            answer = await account(one, bound, None, **told)
            assert answer.reason == "unauthenticated"


async def test_a_refused_call_is_entered_with_the_callers_address(
    service: Service, front: Nginx
) -> None:
    async with front.connection(source="127.0.10.3") as connection:
        answer = await connection.ask("GET", "/v1/account")
    assert answer.reason == "unauthenticated"
    (entry,) = await entries(service.auditor_dsn, "e.address = '127.0.10.3'")
    assert entry["access_id"] == answer.access_id

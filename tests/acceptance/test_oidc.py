"""Staff sign in at the ministry's OpenID provider; who must not is refused and entered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
from joserfc.jwk import ECKey

from gateway.routes import OIDC_ROUTES
from gateway.settings import ARRIVAL_PATH
from tests.acceptance import forging
from tests.acceptance.admins import Admin
from tests.acceptance.browsing import Browser, entries_from
from tests.acceptance.identities import CLIENT, Claims, signed, state_of
from tests.acceptance.ledger import entries
from tests.acceptance.ministries import SOURCES, WHY, Ministry, bind, opening
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]


@pytest.fixture(scope="module")
async def opened(service: Service) -> AsyncIterator[Ministry]:
    async with opening(service) as ministry:
        yield ministry


@pytest.fixture(scope="module")
async def ministry(opened: Ministry) -> Ministry:
    """With an auditor who is bound."""
    admin = Admin(opened.service, opened.service.staff["admin"])
    made = await admin.made("staff", role="auditor", name="Ibu Wayan")
    spare = [
        await admin.made("staff", role="ops", name=name) for name in ("Made", "Ketut")
    ]
    member, subject = made["id"], "5f1d2f6e-7d1b-4d36-9f0e-0f6f2c4a1b7e"
    bound = await bind(opened.service, member, subject)
    assert bound.json["identity"]["subject"] == subject
    await asyncio.sleep(KNOWN_EVERYWHERE)
    return replace(opened, member=member, subject=subject, spare=spare)


@pytest.fixture(autouse=True)
def honest(opened: Ministry) -> Iterator[None]:
    """Whatever a test spoils of the provider is good again for the next."""
    yield
    provider = opened.provider
    provider.said, provider.sign, provider.down = {}, signed, ""


async def reference_of(ministry: Ministry, browser: Browser) -> str | None:
    found = await entries(
        ministry.service.auditor_dsn, "e.at > now() - interval '1 minute'"
    )
    (mine,) = [one for one in found if one["address"] == browser.source]
    assert (mine["operation"], mine["outcome"]) == ("console.sign-in", "refused")
    assert mine["reason"] == "unauthenticated"
    reference: str | None = mine["reference"]
    return reference


async def check_nobody(browser: Browser) -> None:
    assert not any(name.endswith("gateway-session") for name in browser.cookies)
    assert (await browser.get("/console/audit")).status == 401


async def test_who_is_bound_signs_in_and_has_the_usual_session(
    ministry: Ministry,
) -> None:
    browser = ministry.browser(host="console.example")
    assert b'href="/console/oidc"' in (await browser.get("/console")).body
    left = await browser.get("/console/oidc")
    (leaving,) = left.headers["set-cookie"].splitlines()
    assert leaving.startswith("__Host-gateway-session-oidc=")
    for word in ("httponly", "secure", "samesite=lax", "path=/", "max-age=600"):
        assert word in leaving.lower()
    assert "domain=" not in leaving.lower()
    address = left.headers["location"]
    back = await browser.get(ministry.provider.admit(address, ministry.subject))
    # A page of ours leads on: a redirect would be the provider's navigation still,
    # to which the browser gives no SameSite=Strict cookie.
    assert back.status == 200
    assert b'http-equiv="refresh" content="0; url=/console"' in back.body
    cookies = back.headers["set-cookie"].splitlines()
    (over,) = [one for one in cookies if "-oidc=" in one]
    assert "max-age=0" in over.lower()
    (told,) = [one.lower() for one in cookies if "-oidc=" not in one]
    for word in ("__host-", "httponly", "secure", "samesite=strict", "path=/"):
        assert word in told
    assert (await browser.get("/console")).headers["location"] == "/console/audit"
    page = await browser.get("/console/audit")
    assert b"Ibu Wayan" in page.body
    entered = await entries(
        ministry.service.auditor_dsn, "e.at > now() - interval '1 minute'"
    )
    (mine,) = [one for one in entered if one["address"] == browser.source]
    assert (mine["operation"], mine["outcome"]) == ("console.sign-in", "done")
    assert (mine["actor"], mine["reference"]) == ("auditor", "oidc")
    assert ministry.subject not in json.dumps(entered)
    assert (await browser.post("/console/session/end", {})).status == 403


@pytest.mark.parametrize(
    "said",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"aud": [CLIENT, "another client"], "azp": "another client"},
        {"azp": "another client"},
        {"iss": "https://evil.example/realm"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"sub": ""},
    ],
    ids=str,
)
async def test_a_token_that_says_what_it_should_not_signs_nobody_in(
    ministry: Ministry, said: Claims
) -> None:
    ministry.provider.said = said
    browser = ministry.browser()
    page = await ministry.sign_in(browser)
    assert page.status == 401
    assert b"could not be verified" in page.body
    assert await reference_of(ministry, browser) == "oidc: doubt"
    await check_nobody(browser)


async def test_a_token_for_several_that_names_us_is_ours(ministry: Ministry) -> None:
    ministry.provider.said = {"aud": [CLIENT, "another client"], "azp": CLIENT}
    assert (await ministry.sign_in(ministry.browser())).status == 200


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(
    "sign",
    [
        forging.unsigned,
        forging.with_the_public_key_as_a_secret,
        forging.with_a_key_of_the_set_that_is_shared,
        forging.with_another_key,
        forging.with_a_key_of_nobody,
        forging.altered,
        lambda *_: "no token",
    ],
)
async def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(
    ministry: Ministry, sign: Callable[[Claims, ECKey], str]
) -> None:
    ministry.provider.sign = sign
    browser = ministry.browser()
    assert (await ministry.sign_in(browser)).status == 401
    assert await reference_of(ministry, browser) == "oidc: doubt"
    await check_nobody(browser)


async def test_a_key_that_was_rotated_is_asked_for(ministry: Ministry) -> None:
    assert (await ministry.sign_in(ministry.browser())).status == 200
    ministry.provider.rotate()
    ministry.provider.asked.clear()
    assert (await ministry.sign_in(ministry.browser())).status == 200
    assert ministry.provider.asked == ["/realm/token", "/realm/keys"]
    ministry.provider.asked.clear()
    assert (await ministry.sign_in(ministry.browser())).status == 200
    assert ministry.provider.asked == ["/realm/token"]


async def test_a_return_is_good_once_and_in_the_browser_that_left(
    ministry: Ministry,
) -> None:
    browser = ministry.browser()
    address = await ministry.leave(browser)
    copied = dict(browser.cookies)
    back = ministry.provider.admit(address, ministry.subject)
    elsewhere = ministry.browser()
    refused = await elsewhere.get(back)
    assert refused.status == 401
    assert b"did not begin in this browser" in refused.body
    assert await reference_of(ministry, elsewhere) == "oidc: departure"
    ministry.provider.asked.clear()
    assert (await browser.get(back)).status == 200
    assert not any(name.endswith("-oidc") for name in browser.cookies)
    thief = ministry.browser()
    thief.cookies = copied
    # Even with a code that was not used yet.
    again = ministry.provider.admit(address, ministry.subject)
    assert (await thief.get(again)).status == 401
    assert await reference_of(ministry, thief) == "oidc: departure"
    assert ministry.provider.asked.count("/realm/token") == 1
    await check_nobody(thief)


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        ({"state": "another"}, "oidc: departure"),
        ({"iss": "https://evil.example"}, "oidc: doubt"),
        ({"code": "made up"}, "oidc: doubt"),
    ],
)
async def test_an_answer_that_is_not_the_providers_signs_nobody_in(
    ministry: Ministry, instead: dict[str, str], why: str
) -> None:
    browser = ministry.browser()
    address = await ministry.leave(browser)
    back = ministry.provider.admit(address, ministry.subject, **instead)
    assert (await browser.get(back)).status == 401
    assert await reference_of(ministry, browser) == why
    await check_nobody(browser)


async def test_whom_the_provider_refuses_is_told_so_and_its_words_are_not_repeated(
    ministry: Ministry,
) -> None:
    browser = ministry.browser()
    state = state_of(await ministry.leave(browser))
    told = f"error=access_denied&error_description=Evil&iss={ministry.provider.issuer}"
    page = await browser.get(f"{ARRIVAL_PATH}?{told}&state={state}")
    assert page.status == 401
    assert b"did not let you in" in page.body
    assert b"Evil" not in page.body
    assert await reference_of(ministry, browser) == "oidc: provider"
    # An answer without its issuer, from a provider that gives it (RFC 9207).
    browser = ministry.browser()
    back = ministry.provider.admit(await ministry.leave(browser), ministry.subject)
    assert (await browser.get(back.partition("&iss=")[0])).status == 401
    assert await reference_of(ministry, browser) == "oidc: doubt"


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", b"here nobody is bound"), ("id", b"belum ada petugas yang terikat")],
)
async def test_who_is_not_bound_is_told_what_to_give_an_admin(
    ministry: Ministry, language: str, words: bytes
) -> None:
    browser = ministry.browser(language=language)
    page = await ministry.sign_in(browser, "stranger <b>")
    assert page.status == 401
    assert words in page.body
    assert b"stranger &lt;b&gt;" in page.body
    assert await reference_of(ministry, browser) == "oidc: binding"
    await check_nobody(browser)


async def test_a_session_ends_at_once_with_the_binding_and_with_the_token(
    ministry: Ministry,
) -> None:
    service = ministry.service
    admin = Admin(service, service.staff["admin"])
    made = ministry.spare.pop()
    await bind(service, made["id"], "made")
    by_provider, by_token = ministry.browser(), ministry.browser()
    assert (await ministry.sign_in(by_provider, "made")).status == 200
    assert (await by_token.sign_in(made["token"])).status == 303
    for browser in (by_provider, by_token):
        assert (await browser.get("/console/ops")).status == 200
    await bind(service, made["id"], "made too")
    assert (await by_provider.get("/console/ops")).status == 401
    assert (await by_token.get("/console/ops")).status == 200
    assert (await ministry.sign_in(by_provider, "made")).status == 401
    again = ministry.browser()
    assert (await ministry.sign_in(again, "made too")).status == 200
    ended = await admin.ask("DELETE", f"staff/{made['id']}")
    assert ended.status == 204
    await asyncio.sleep(KNOWN_EVERYWHERE)
    assert (await again.get("/console/ops")).status == 401
    refused = ministry.browser()
    page = await ministry.sign_in(refused, "made too")
    assert page.status == 401
    assert b"over or was revoked" in page.body
    assert await reference_of(ministry, refused) == "oidc"


async def test_an_admin_binds_and_unbinds_on_the_members_page(
    ministry: Ministry,
) -> None:
    service = ministry.service
    made = ministry.spare.pop()
    browser = ministry.browser()
    await browser.sign_in(service.staff["admin"])
    page = f"/console/admin/staff/{made['id']}"

    async def send(place: str, **form: str) -> Answer:
        csrf = {"csrf": await browser.csrf()}
        return await browser.post(f"{page}/{place}", csrf | form)

    unknown = await send("identity", subject="3171014501909001", reason=WHY)
    assert unknown.status == 400
    assert b"must hold neither a NIK nor a key" in unknown.body
    assert b'value="3171014501909001"' in unknown.body
    taken = await send("identity", subject=ministry.subject, reason=WHY)
    assert b"is another member of staff" in taken.body
    # A NIP has 18 digits.
    nip = "199001012015011001"
    bound = await browser.follow(await send("identity", subject=nip, reason=WHY))
    assert f"<code>{nip}</code>".encode() in bound.body
    assert b"staff.bind" in bound.body
    signed_on = ministry.browser()
    assert (await ministry.sign_in(signed_on, nip)).status == 200
    gone = await send("identity/removal", subject="", reason=WHY)
    assert b"staff.unbind" in (await browser.follow(gone)).body
    assert (await signed_on.get("/console/ops")).status == 401
    changed = [
        one for one in await entries_from(service, browser.source) if "staff." in one[0]
    ]
    done = [one for one in changed if one != ("staff.read", "done")]
    assert [one for one in done if one[1] == "done"] == [
        ("staff.bind", "done"),
        ("staff.unbind", "done"),
    ]


async def test_only_an_admin_binds(ministry: Ministry) -> None:
    service = ministry.service
    # All of the API's routes that there are with a provider alone.
    api = {path for route in OIDC_ROUTES for path in route.paths}
    assert {path for path in api if not path.startswith("/console")} == {
        "/admin/staff/{member:str}/identity"
    }
    path = f"/admin/staff/{ministry.member}/identity"
    asked = {"subject": "evil", "reason": WHY}
    keys = (None, service.sample("bulk").key, service.staff["ops"])
    for method, key in product(("PUT", "DELETE"), keys):
        answer = await service.ask(method, path, key=key, json=asked)
        assert answer.status == (403 if key else 401)
    for credential in keys:
        browser = ministry.browser()
        if credential:
            await browser.sign_in(credential)
        for place in ("identity", "identity/removal"):
            target = f"/console/admin/staff/{ministry.member}/{place}"
            assert (await browser.post(target, asked)).status == (
                403 if credential else 401
            )
    other = await service.ask("GET", path, key=service.staff["admin"])
    assert other.status == 405
    assert (await ministry.sign_in(ministry.browser())).status == 200


async def test_sign_ins_of_one_address_are_throttled(ministry: Ministry) -> None:
    browser = ministry.browser()
    left = [(await browser.get("/console/oidc")).status for _ in range(20)]
    assert set(left) == {303, 429}
    browser = ministry.browser()
    back = [(await browser.get(ARRIVAL_PATH)).status for _ in range(20)]
    assert set(back) == {401, 429}


@pytest.mark.parametrize("down", ["fails", "redirects", "endless"])
async def test_without_the_provider_there_is_a_page_that_says_so_and_the_token(
    ministry: Ministry, down: str
) -> None:
    browser = ministry.browser()
    address = await ministry.leave(browser)
    back = ministry.provider.admit(address, ministry.subject)
    ministry.provider.down = down
    page = await browser.get(back)
    assert page.status == 503
    assert b"sign in with your token" in page.body
    assert f"{ministry.provider.issuer}/elsewhere" not in ministry.provider.asked
    assert await entries_from(ministry.service, browser.source) == [
        ("console.sign-in", "failed")
    ]
    token = ministry.service.staff["auditor"]
    assert (await browser.sign_in(token)).status == 303


async def test_without_the_settings_there_is_nothing_of_it(service: Service) -> None:
    browser = Browser(service, next(SOURCES))
    assert b"/console/oidc" not in (await browser.get("/console")).body
    for target in ("/console/oidc", ARRIVAL_PATH):
        assert (await browser.get(target)).status == 404
    missing = await service.ask(
        "PUT", "/admin/staff/1/identity", key=service.staff["admin"], json={}
    )
    assert missing.status == 404

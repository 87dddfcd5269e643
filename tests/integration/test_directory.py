"""A worker's copy of who may call: whom it identifies."""

from ipaddress import ip_address

import pytest

from gateway.keyed import Keyed
from gateway.partners import keeping, keys
from gateway.partners.directory import Directory
from gateway.partners.keys import Environment
from gateway.postgres import Connection
from gateway.problems import Unauthenticated
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor
from tests.acceptance.callers import with_another_secret
from tests.conftest import Database
from tests.integration.directories import LATER, NOW, PEPPERS, make_key, opened


def key_refused(directory: Directory, text: str | None, now: int = NOW) -> int | None:
    with pytest.raises(Unauthenticated) as refusal:
        directory.identify(text, now)
    return refusal.value.key


async def test_a_key_identifies_its_institution(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin, not_after=LATER)
    async with opened(database) as directory:
        key = directory.identify(made.text, NOW)
        assert (key.id, key.number, key.staff) == (made.id, made.number, None)
        assert key.institution is not None
        institution = directory.institution(key.institution)
        assert institution is not None
        assert institution.name == "Bank Contoh"
        assert directory.key_of(made.number) is key
        assert directory.key_named(made.id) is key


async def test_a_token_identifies_a_member_of_staff(
    database: Database, admin: Connection
) -> None:
    made = await keeping.create_staff(
        admin,
        PEPPERS,
        role="auditor",
        name="Wayan",
        not_after=None,
        environment=Environment.LIVE,
    )
    async with opened(database) as directory:
        key = directory.identify(made.token.text, NOW)
        assert key.institution is None
        assert key.staff is not None
        assert (key.staff.id, key.staff.name) == (made.id, "Wayan")
        assert key.staff.role is Actor.AUDITOR


async def test_no_secret_shows_in_a_key(database: Database, admin: Connection) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        assert "digest" not in repr(directory.identify(made.text, NOW))


async def test_a_missing_malformed_or_unknown_key_is_unauthenticated(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    stranger = keys.make(keys.Kind.INSTITUTION, Environment.TEST)
    async with opened(database) as directory:
        for text in (None, "", made.text[:-1], stranger.text):
            assert key_refused(directory, text) is None


async def test_a_wrong_secret_is_unauthenticated_and_names_the_key(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        assert key_refused(directory, with_another_secret(made.text)) == made.number


async def test_a_key_is_dead_from_its_not_after(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin, not_after=LATER)
    async with opened(database) as directory:
        assert directory.identify(made.text, LATER - 1).not_after == LATER
        assert key_refused(directory, made.text, LATER) == made.number


async def test_a_revoked_key_is_unauthenticated_and_still_named(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    await keeping.revoke_key(admin, made.id)
    async with opened(database) as directory:
        assert key_refused(directory, made.text) == made.number
        assert directory.key_of(made.number).revoked


async def test_a_key_under_an_older_pepper_still_lives(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    rotated = NumberedKeys({**PEPPERS.by_number, 3: b"z" * 32})
    async with opened(database, peppers=rotated) as directory:
        assert directory.identify(made.text, NOW).pepper == 2


async def test_a_key_under_a_pepper_that_is_gone_is_dead(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    without = NumberedKeys({1: b"o" * 32, 3: b"z" * 32})
    async with opened(database, peppers=without) as directory:
        assert key_refused(directory, made.text) == made.number


async def test_an_unknown_id_costs_the_same_work_as_a_wrong_secret(
    database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make_key(admin)
    stranger = keys.make(keys.Kind.INSTITUTION, Environment.TEST)
    worked: list[int] = []
    genuine = keys.digest

    def counted(text: str, pepper: Keyed) -> bytes:
        worked.append(len(text))
        return genuine(text, pepper)

    monkeypatch.setattr(keys, "digest", counted)
    async with opened(database) as directory:
        for text in (with_another_secret(made.text), stranger.text):
            worked.clear()
            key_refused(directory, text)
            assert worked == [len(text)]
        worked.clear()
        key_refused(directory, made.text[:-1])
        assert worked == []


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("203.0.113.7", True),
        ("203.0.114.0", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
    ],
)
async def test_a_key_admits_only_its_networks(
    database: Database, admin: Connection, *, address: str, admitted: bool
) -> None:
    made = await make_key(admin, cidrs=["203.0.113.0/24", "2001:db8::/32"])
    anywhere = await make_key(admin)
    async with opened(database) as directory:
        key = directory.identify(made.text, NOW)
        assert key.admits(ip_address(address)) is admitted
        assert directory.identify(anywhere.text, NOW).admits(ip_address(address))


async def test_a_purpose_is_found_by_its_name(database: Database) -> None:
    async with opened(database) as directory:
        assert directory.purpose_number("treatment") == 2
        assert directory.purpose_number("espionage") is None

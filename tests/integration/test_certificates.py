"""Institutions bound to client certificates: what is kept, and what workers make of it."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.clock import from_datetime, to_text
from gateway.doctor import upkeep
from gateway.partners import keeping, terms
from gateway.partners.directory import Directory, Key
from gateway.partners.listing import Part, list_certificates
from gateway.postgres import Connection
from gateway.problems import InvalidRequest, NotFound, Unauthenticated
from gateway.quota.limit import DAY
from gateway.tables import of_certificates
from tests.conftest import Database
from tests.integration.commanding import WHY, command_line
from tests.integration.directories import LATER, NOW, make_key, opened

pytestmark = pytest.mark.integration

OURS, NEXT = bytes(range(32)), bytes(range(32, 64))


async def bind(admin: Connection, institution: int, **given: Any) -> int:
    wanted: dict[str, Any] = {"fingerprint": OURS.hex(), "label": "core banking"}
    wanted |= {"not_after": LATER} | given
    return await keeping.bind_certificate(admin, institution=institution, **wanted)


async def opens(directory: Directory, key: Key, *shown: bytes | None) -> list[bool]:
    """Which of these open the key, once the directory is current."""
    await directory.refresh()
    found = []
    for presented in shown:
        try:
            directory.check_certificate(key, presented, NOW)
        except Unauthenticated as refusal:
            found.append(False)
            if refusal.key != key.number:
                raise
        else:
            found.append(True)
    return found


async def test_a_key_follows_what_its_institution_is_bound_to(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        key = directory.identify(made.text, NOW)
        holder = key.institution
        assert holder is not None
        assert await opens(directory, key, None, OURS, NEXT) == [True, True, True]
        first = await bind(admin, holder)
        assert await opens(directory, key, None, OURS, NEXT) == [False, True, False]
        second = await bind(admin, holder, fingerprint=NEXT.hex())
        assert await opens(directory, key, None, OURS, NEXT) == [False, True, True]
        # A copy that was read from the beginning says the same.
        async with opened(database) as another:
            assert await opens(another, key, None, OURS, NEXT) == [False, True, True]
        left = await keeping.unbind_certificate(admin, first)
        assert (left.institution, left.left) == (holder, 1)
        assert await opens(directory, key, None, OURS, NEXT) == [False, False, True]
        assert (await keeping.unbind_certificate(admin, second)).left == 0
        assert await opens(directory, key, None, OURS, NEXT) == [True, True, True]


async def test_a_binding_to_the_last_instant_there_is_is_one_as_any(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        key = directory.identify(made.text, NOW)
        assert key.institution is not None
        await bind(admin, key.institution, not_after=terms.LATEST)
        assert await opens(directory, key, None, OURS) == [False, True]
    (kept,) = await list_certificates(admin)
    assert kept.not_after == terms.LATEST


async def test_a_binding_that_is_over_lets_nobody_in(
    database: Database, admin: Connection
) -> None:
    made = await make_key(admin)
    async with opened(database) as directory:
        key = directory.identify(made.text, NOW)
        await bind(admin, key.institution or 0, not_after=NOW)
        assert await opens(directory, key, None, OURS) == [False, False]
        directory.check_certificate(key, OURS, NOW - 1)


async def test_a_binding_is_told_with_its_end_and_never_deleted(
    admin: Connection,
) -> None:
    made = await make_key(admin)
    holder = await admin.fetchval(
        "SELECT institution FROM keys WHERE number = $1", made.number
    )
    first = await bind(admin, holder)
    await keeping.unbind_certificate(admin, first)
    # Once ended it may be bound anew; to end it again changes nothing.
    second = await bind(admin, holder, label=" core banking 2028 ")
    (before,) = await list_certificates(admin, only=first)
    await keeping.unbind_certificate(admin, first)
    told = await list_certificates(admin, institution=holder)
    assert [one.id for one in told] == [first, second]
    assert told[0] == before
    assert (told[0].fingerprint, told[0].unbound_at is None) == (OURS, False)
    assert (told[1].label, told[1].not_after) == ("core banking 2028", LATER)
    assert told[1].unbound_at is None
    assert await list_certificates(admin, part=Part(second)) == []


async def test_all_that_is_wrong_with_a_binding_is_said(admin: Connection) -> None:
    holder = await keeping.create_institution(admin, "Bank Contoh")
    with pytest.raises(InvalidRequest) as refusal:
        await bind(admin, holder, fingerprint="AB:CD", label="3171014501900001")
    pointers = [fault.pointer for fault in refusal.value.faults]
    assert pointers == ["/fingerprint", "/label"]
    await bind(admin, holder)
    with pytest.raises(InvalidRequest) as refusal:
        await bind(admin, holder, fingerprint=OURS.hex(":"))
    assert refusal.value.faults[0].detail == "is bound already"
    for missing in (0, holder + 1):
        with pytest.raises(NotFound):
            await bind(admin, missing)
        with pytest.raises(NotFound):
            await keeping.unbind_certificate(admin, missing + 10_000)


async def test_another_institution_may_be_bound_to_the_same_certificate(
    admin: Connection,
) -> None:
    holders = [await keeping.create_institution(admin, f"Bank {n}") for n in (1, 2)]
    assert len({await bind(admin, holder) for holder in holders}) == 2


async def test_no_role_changes_what_was_bound(
    admin: Connection, hot: Connection
) -> None:
    holder = await keeping.create_institution(admin, "Bank Contoh")
    await bind(admin, holder)
    for statement in (
        "UPDATE certificates SET fingerprint = fingerprint",
        "UPDATE certificates SET not_after = not_after",
        "DELETE FROM certificates",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await admin.execute(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await hot.execute("UPDATE certificates SET unbound_at = now()")


async def test_a_certificate_is_bound_and_unbound_on_the_command_line(
    database: Database, admin: Connection, tmp_path: Path
) -> None:
    gateway = command_line(database, tmp_path)
    holder = str(await keeping.create_institution(admin, "Bank Contoh"))
    terms = ("--label", "core banking", "--not-after", "2027-01-01")
    made = await gateway.made("institution", "bind", holder, OURS.hex(":"), *terms)
    ended = await gateway.run("institution", "unbind", str(made["id"]), *WHY)
    assert ended.code == 0
    assert "its keys are accepted without a certificate" in ended.err
    (kept,) = await list_certificates(admin, only=made["id"])
    assert (kept.label, kept.fingerprint) == ("core banking", OURS)
    (row,) = of_certificates([kept]).rows
    assert row[:4] == (str(kept.id), holder, "core banking", OURS.hex())
    assert row[4] == "2027-01-01T00:00:00+07:00"
    entries = await gateway.entries()
    assert [entry["operation"] for entry in entries] == [
        "certificate.bind",
        "certificate.unbind",
    ]


async def test_institutions_whose_last_certificate_ends_soon_are_warned_of(
    database: Database, admin: Connection
) -> None:
    now = from_datetime(await admin.fetchval("SELECT clock_timestamp()"))
    # Over, ending, followed by another that ends later, and ending later.
    for spans in ((-1,), (-1, 29), (3, 31), (31,)):
        holder = await keeping.create_institution(admin, "Bank Contoh")
        for number, days in enumerate(spans):
            terms = {"fingerprint": f"{number:064x}", "not_after": now + days * DAY}
            await bind(admin, holder, **terms)
    found = await upkeep.examine(database.dsn("hot"), patience=10)
    (told,) = [one.says for one in found if one.check == "certificates-end"]
    first = to_text(now - DAY)[:19]
    assert f": 2, the first at {first}Z." in told

"""Institutions, agreements, keys and staff, as the admin role keeps them."""

import asyncio
from typing import Any

import asyncpg
import pytest

from gateway.clock import SECOND
from gateway.keyed import Keyed
from gateway.partners import keeping, listing
from gateway.partners.agreement import Agreement
from gateway.partners.keys import Environment, digest, parse
from gateway.postgres import Connection
from gateway.problems import InvalidRequest, NotFound
from gateway.settings import NumberedKeys
from gateway.vocabulary import Limits
from tests.conftest import Database

PEPPERS = NumberedKeys({1: b"o" * 32, 2: b"n" * 32})
FROM, TO = 1_760_000_000_000_000, 1_860_000_000_000_001
LIMITS = {"rate": 50, "burst": 100, "day": 1_000, "month": 20_000}
KYC = {
    "purpose": "kyc",
    "operations": ["verify", "batch"],
    "fields": ["birth_date", "name"],
}
CARE = {
    "purpose": "treatment",
    "operations": ["fetch"],
    "fields": ["blood_type"],
    "name_similarity": 0.8,
}


async def agree(admin: Connection, institution: int, **terms: Any) -> int:
    wanted: dict[str, Any] = {"from_at": FROM, "to_at": TO, "limits": LIMITS} | terms
    grants = wanted.pop("grants", [KYC, CARE])
    return await keeping.create_agreement(admin, institution, grants=grants, **wanted)


async def make_key(admin: Connection, institution: int, **terms: Any) -> keeping.NewKey:
    wanted: dict[str, Any] = {"not_after": None, "cidrs": None} | terms
    return await keeping.create_key(
        admin,
        PEPPERS,
        institution=institution,
        environment=Environment.TEST,
        **wanted,
    )


def pointers(refusal: pytest.ExceptionInfo[InvalidRequest]) -> list[str]:
    return [fault.pointer for fault in refusal.value.faults]


async def test_an_institution_is_kept_under_its_name(admin: Connection) -> None:
    number = await keeping.create_institution(admin, " Bank Contoh ")
    (record,) = await listing.list_institutions(admin, only=number)
    assert (record.id, record.name) == (number, "Bank Contoh")
    with pytest.raises(InvalidRequest) as refusal:
        await keeping.create_institution(admin, "")
    assert pointers(refusal) == ["/name"]


async def test_an_agreement_is_kept_as_it_was_given(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    number = await agree(admin, institution)
    (kept,) = await listing.list_agreements(admin, only=number)
    assert (kept.institution, kept.from_at, kept.to_at) == (institution, FROM, TO)
    assert (kept.status, kept.limits._asdict()) == ("active", LIMITS)
    assert list(kept.grants) == ["kyc", "treatment"]
    kyc, care = kept.grants.values()
    assert kyc.operations == {"verify", "batch"}
    assert kyc.fields == ("name", "birth_date")
    assert (kyc.purpose_number, kyc.name_similarity) == (1, 0.9)
    assert (care.fields, care.name_similarity) == (("blood_type",), 0.8)


async def test_all_that_is_wrong_with_an_agreement_is_said_at_once(
    admin: Connection,
) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    with pytest.raises(InvalidRequest) as refusal:
        await agree(
            admin,
            institution,
            to_at=FROM,
            grants=[KYC | {"fields": ["name", "birth_date", "salary"]}],
            limits=LIMITS | {"day": 0},
        )
    assert pointers(refusal) == ["/to", "/grants/0/fields/2", "/limits/day"]
    assert await listing.list_agreements(admin) == []


async def test_what_a_change_does_not_name_stays(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    number = await agree(admin, institution)
    (before,) = await listing.list_agreements(admin)
    await keeping.change_agreement(
        admin, number, limits={"day": 20}, status="suspended"
    )
    (after,) = await listing.list_agreements(admin)
    assert (after.status, after.limits.day) == ("suspended", 20)
    assert after.limits._replace(day=1_000) == before.limits
    assert (after.from_at, after.to_at, after.grants) == (FROM, TO, before.grants)


async def test_changed_grants_replace_them_all(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    number = await agree(admin, institution)
    wider = KYC | {"fields": ["kk"]}
    await keeping.change_agreement(admin, number, grants=[wider])
    (after,) = await listing.list_agreements(admin)
    assert list(after.grants) == ["kyc"]
    assert after.grants["kyc"].fields == ("kk",)


async def test_a_shadow_is_whole_begins_anew_when_given_and_stays_until_it_is_dropped(
    admin: Connection,
) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    number = await agree(admin, institution)

    async def changed(**terms: Any) -> Agreement:
        await keeping.change_agreement(admin, number, **terms)
        (kept,) = await listing.list_agreements(admin)
        return kept

    first = (await changed(limits={"rate": 40}, shadow={"day": 9})).shadow
    assert first is not None
    # What is left out is the agreement's own, as the same change leaves it.
    assert first.limits == Limits(40, 100, 9, 20_000)
    kept = await changed(limits={"rate": 60}, status="suspended")
    assert (kept.shadow, kept.limits.rate) == (first, 60)
    again = (await changed(shadow={"day": 9, "rate": 40})).shadow
    assert again is not None
    assert again.limits == first.limits
    assert again.since > first.since
    dropped = await changed(shadow=None)
    assert (dropped.shadow, dropped.limits) == (None, kept.limits)


@pytest.mark.parametrize(
    ("assignment", "name"),
    [
        ("shadow_day = 5", "a_shadow_is_whole"),
        (
            (
                "shadow_rate = 0, shadow_burst = 1, shadow_day = 1, shadow_month = 1,"
                " shadow_since = now()"
            ),
            "a_shadow_is_such_as_limits_are",
        ),
    ],
)
async def test_no_row_holds_a_part_of_a_shadow_or_one_out_of_bounds(
    admin: Connection, assignment: str, name: str
) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    await agree(admin, institution)
    with pytest.raises(asyncpg.CheckViolationError, match=name):
        await admin.execute(f"UPDATE agreements SET {assignment}")


async def test_a_refused_change_changes_nothing(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    number = await agree(admin, institution)
    before = await listing.list_agreements(admin)
    with pytest.raises(InvalidRequest) as refusal:
        await keeping.change_agreement(
            *(admin, number),
            from_at=TO,
            limits={"week": 1},
            status="ended",
            shadow={"day": "9"},
            grants=[],
        )
    assert pointers(refusal) == [
        *("/to", "/limits", "/status", "/shadow/day", "/grants")
    ]
    assert await listing.list_agreements(admin) == before


async def test_what_is_not_there_is_not_found(admin: Connection) -> None:
    for missing in (999, 0, 2**40):
        with pytest.raises(NotFound):
            await agree(admin, missing)
        with pytest.raises(NotFound):
            await make_key(admin, missing)
        with pytest.raises(NotFound):
            await keeping.change_agreement(admin, missing, status="active")
        with pytest.raises(NotFound):
            await keeping.revoke_staff(admin, missing)
        for items in (
            listing.list_institutions,
            listing.list_agreements,
            listing.list_staff,
        ):
            with pytest.raises(NotFound):
                await items(admin, only=missing)
    for unknown in ("Ab3dE6gH", "short", "Ab3dE6g\x00"):
        with pytest.raises(NotFound):
            await keeping.revoke_key(admin, unknown)
        with pytest.raises(NotFound):
            await listing.list_keys(admin, only=unknown)


async def test_a_key_is_kept_as_its_digest_under_the_newest_pepper(
    admin: Connection,
) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    key = await make_key(admin, institution)
    credential = parse(key.text)
    assert credential is not None
    assert credential.id == key.id
    row = await admin.fetchrow("SELECT * FROM keys WHERE number = $1", key.number)
    assert row is not None
    assert (row["id"], row["pepper"]) == (key.id, 2)
    assert row["digest"] == digest(key.text, Keyed(PEPPERS.by_number[2]))
    assert key.text[17:] not in str(row)
    assert key.text not in repr(key)


async def test_keys_are_listed_without_anything_secret(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    cidrs = ["203.0.113.0/24", "2001:db8::/32"]
    key = await make_key(admin, institution, not_after=TO, cidrs=cidrs)
    await keeping.create_staff(
        admin,
        PEPPERS,
        role="ops",
        name="Made",
        not_after=None,
        environment=Environment.LIVE,
    )
    (record,) = await listing.list_keys(admin)
    assert (record.id, record.number) == (key.id, key.number)
    assert (record.institution, record.not_after) == (institution, TO)
    assert [str(network) for network in record.networks] == cidrs
    assert record.revoked_at is None
    assert not {"digest", "pepper", "text"} & set(dir(record))


async def test_an_institution_has_two_live_keys_at_most(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    first = await make_key(admin, institution)
    await make_key(admin, institution, not_after=TO)
    with pytest.raises(InvalidRequest) as refusal:
        await make_key(admin, institution)
    assert pointers(refusal) == ["/institution"]
    await keeping.revoke_key(admin, first.id)
    await make_key(admin, institution)


async def test_an_expired_key_makes_room_and_another_institutions_takes_none(
    admin: Connection,
) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    neighbour = await keeping.create_institution(admin, "Bank Tetangga")
    for _ in range(2):
        await make_key(admin, institution, not_after=SECOND)
        await make_key(admin, neighbour)
    await make_key(admin, institution)
    await make_key(admin, institution)


async def test_of_keys_made_at_once_only_two_come_to_live(
    database: Database, admin: Connection
) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")

    async def attempt() -> None:
        connection = await asyncpg.connect(database.dsn("admin"))
        try:
            async with connection.transaction():
                await make_key(connection, institution)
        finally:
            await connection.close()

    attempts = (attempt() for _ in range(6))
    ends = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [end for end in ends if isinstance(end, InvalidRequest)]
    assert (ends.count(None), len(refused)) == (2, 4)


async def test_bad_networks_make_no_key(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    with pytest.raises(InvalidRequest) as refusal:
        await make_key(admin, institution, cidrs=["10.0.0.0/8", "10.0.0.1/8"])
    assert pointers(refusal) == ["/cidrs/1"]
    assert await listing.list_keys(admin) == []


async def test_a_key_is_revoked_once_and_stays_listed(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    key = await make_key(admin, institution)
    await keeping.revoke_key(admin, key.id)
    (first,) = await listing.list_keys(admin, only=key.id)
    assert first.revoked_at is not None
    await keeping.revoke_key(admin, key.id)
    assert await listing.list_keys(admin, only=key.id) == [first]


async def test_staff_have_a_role_a_name_and_a_token_that_can_be_revoked(
    admin: Connection,
) -> None:
    staff = await keeping.create_staff(
        admin,
        PEPPERS,
        role="auditor",
        name="Wayan",
        not_after=TO,
        environment=Environment.LIVE,
    )
    assert staff.token.text.startswith("gds_live_")
    assert staff.token.text not in repr(staff)
    (record,) = await listing.list_staff(admin, only=staff.id)
    assert (record.role, record.name) == ("auditor", "Wayan")
    assert (record.token, record.number) == (staff.token.id, staff.token.number)
    assert (record.not_after, record.revoked_at) == (TO, None)
    await keeping.revoke_staff(admin, staff.id)
    (record,) = await listing.list_staff(admin, only=staff.id)
    assert record.revoked_at is not None


async def test_all_that_is_wrong_with_staff_is_said_at_once(admin: Connection) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await keeping.create_staff(
            admin,
            PEPPERS,
            role="institution",
            name="",
            not_after=None,
            environment=Environment.LIVE,
        )
    assert pointers(refusal) == ["/role", "/name"]
    assert await listing.list_staff(admin) == []


async def test_a_change_that_is_rolled_back_never_was(admin: Connection) -> None:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    transaction = admin.transaction()
    await transaction.start()
    await agree(admin, institution)
    await make_key(admin, institution)
    await transaction.rollback()
    assert await listing.list_agreements(admin) == []
    assert await listing.list_keys(admin) == []

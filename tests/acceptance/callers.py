"""Institutions made for a test, with the terms the test is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.clock import SECOND, from_datetime
from gateway.partners import keeping, keys
from gateway.partners.keys import ALPHABET, Environment
from gateway.postgres import Connection
from gateway.settings import NumberedKeys

DAY: Final = 86_400 * SECOND
KYC: Final[Mapping[str, Any]] = {
    "purpose": "kyc",
    "operations": ["verify", "batch"],
    "fields": ["name", "birth_date", "birth_place", "mother_name"],
}
TREATMENT: Final[Mapping[str, Any]] = {
    "purpose": "treatment",
    "operations": ["verify", "fetch", "batch"],
    "fields": [
        *("name", "birth_date", "sex", "blood_type"),
        *("address", "village", "district"),
    ],
}
# More than any test asks for.
PLENTY: Final = {"rate": 10**6, "burst": 10**7, "day": 10**12, "month": 10**12}


@dataclass(frozen=True, slots=True)
class Caller:
    """An institution and a key of its own. `key` is all of it, `key_id` its name."""

    institution: int
    agreement: int
    key_id: str
    key: str = field(repr=False)


async def make_caller(
    admin: Connection,
    peppers: NumberedKeys,
    *,
    grants: Sequence[Mapping[str, Any]] = (KYC, TREATMENT),
    limits: Mapping[str, int] | None = None,
    begins_in: int = -DAY,
    ends_in: int = 365 * DAY,
    cidrs: list[str] | None = None,
    key_ends_in: int | None = None,
) -> Caller:
    """Makes one; spans are microseconds from the server's now."""
    now = from_datetime(await admin.fetchval("SELECT clock_timestamp()"))
    institution = await keeping.create_institution(admin, "Lembaga Uji")
    agreement = await keeping.create_agreement(
        admin,
        institution,
        from_at=now + begins_in,
        to_at=now + ends_in,
        grants=[dict(grant) for grant in grants],
        limits=dict(limits or PLENTY),
    )
    key = await keeping.create_key(
        admin,
        peppers,
        institution=institution,
        not_after=None if key_ends_in is None else now + key_ends_in,
        cidrs=cidrs,
        environment=Environment.TEST,
    )
    return Caller(institution, agreement, key.id, key.text)


def with_another_secret(text: str) -> str:
    """A well-formed key with the same id."""
    changed = ALPHABET[(ALPHABET.index(text[20]) + 1) % len(ALPHABET)]
    body = text[:20] + changed + text[21:-6]
    return body + keys.checksum(body)

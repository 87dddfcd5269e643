"""The demo's institutions and staff, and the file that holds their keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.clock import SECOND
from gateway.partners import keeping
from gateway.partners.keys import Environment
from gateway.postgres import Connection
from gateway.settings import NumberedKeys

_KYC: Final = {
    "purpose": "kyc",
    "operations": ["verify", "batch"],
    "fields": ["name", "birth_date", "birth_place", "mother_name"],
}
_TREATMENT: Final = {
    "purpose": "treatment",
    "operations": ["verify", "fetch", "batch"],
    "fields": [
        *("name", "birth_date", "sex", "blood_type"),
        *("address", "village", "district"),
    ],
}
_USUAL: Final = {"rate": 200, "burst": 1000, "day": 100_000, "month": 2_000_000}
_YEARS: Final = 5 * 365 * 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    grant: Mapping[str, object]
    limits: Mapping[str, int]


# Limits that no load test reaches.
BULK: Final = Sample(
    "Layanan Contoh Massal",
    _TREATMENT,
    {"rate": 1_000_000, "burst": 10_000_000, "day": 10**12, "month": 10**12},
)
INSTITUTIONS: Final = {
    "bank": Sample("Bank Contoh Nusantara", _KYC, _USUAL),
    "hospital": Sample("Rumah Sakit Contoh Sehat", _TREATMENT, _USUAL),
    "tight": Sample(
        "Koperasi Contoh Kecil",
        _KYC,
        {"rate": 5, "burst": 5, "day": 100, "month": 1000},
    ),
    "bulk": BULK,
}
STAFF: Final = {
    "auditor": "Auditor Contoh",
    "ops": "Operator Contoh",
    "admin": "Admin Contoh",
}


async def are_there(connection: Connection, credentials: Mapping[str, Any]) -> bool:
    """Whether the database holds the keys that the file names."""
    texts = [one["key"] for one in credentials["institutions"].values()]
    texts += credentials["staff"].values()
    ids = [text[9:17] for text in texts]
    held = await connection.fetchval(
        "SELECT count(*) FROM keys WHERE id = ANY($1)", ids
    )
    return bool(held == len(ids))


async def create(
    connection: Connection, peppers: NumberedKeys, *, base_url: str, now: int
) -> dict[str, Any]:
    """Makes the sample institutions and staff; what credentials.json is to hold."""
    institutions = {
        word: await institution(connection, peppers, sample, now)
        for word, sample in INSTITUTIONS.items()
    }
    staff = {
        role: (
            await keeping.create_staff(
                connection,
                peppers,
                role=role,
                name=name,
                not_after=None,
                environment=Environment.TEST,
            )
        ).token.text
        for role, name in STAFF.items()
    }
    return {"base_url": base_url, "institutions": institutions, "staff": staff}


async def institution(
    connection: Connection, peppers: NumberedKeys, sample: Sample, now: int
) -> dict[str, Any]:
    """Makes one, with an agreement and a key: what credentials.json holds of it."""
    number = await keeping.create_institution(connection, sample.name)
    agreement = await keeping.create_agreement(
        connection,
        number,
        from_at=now - 86_400 * SECOND,
        to_at=now + _YEARS,
        grants=[sample.grant],
        limits=sample.limits,
    )
    key = await keeping.create_key(
        connection,
        peppers,
        institution=number,
        not_after=None,
        cidrs=None,
        environment=Environment.TEST,
    )
    return {"id": number, "key": key.text, "agreement": agreement}


def write_credentials(path: Path, credentials: Mapping[str, Any]) -> None:
    """Replaces the file whole, readable by its owner alone."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(credentials, indent=2) + "\n", "utf-8")
    fresh.replace(path)

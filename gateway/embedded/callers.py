"""Requests written before, so that the load generator has little to do, and who sends them."""

import json
import random
from itertools import accumulate
from typing import Final

import asyncpg

from gateway.clock import from_datetime
from gateway.embedded import samples
from gateway.embedded.demo import Standing
from gateway.settings import NumberedKeys

CLAIMS: Final = {"name": "SITI AMINAH", "birth_date": "1990-01-05"}


def request(path: str, key: str, body: object = None) -> bytes:
    sent = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    )
    return head.encode() + sent


def verify(key: str, nik: str, purpose: str = "treatment") -> bytes:
    question = {"nik": nik, "purpose": purpose, "claims": CLAIMS}
    return request("/v1/verify", key, question)


def fetch(key: str, nik: str) -> bytes:
    fields = ["name", "birth_date", "address"]
    question = {"nik": nik, "purpose": "treatment", "fields": fields}
    return request("/v1/fetch", key, question)


def batch(key: str, niks: list[str]) -> bytes:
    items = [
        {"id": f"row-{number}", "nik": nik, "claims": CLAIMS}
        for number, nik in enumerate(niks)
    ]
    whole = {"operation": "verify", "purpose": "treatment", "items": items}
    return request("/v1/batch", key, whole)


def by_zipf(chance: random.Random, keys: list[str], count: int) -> list[str]:
    """So many of the keys: the first asks twice as often as the second."""
    weights = list(accumulate(1 / rank for rank in range(1, len(keys) + 1)))
    return chance.choices(keys, cum_weights=weights, k=count)


async def take_on(all_of: Standing, institutions: int) -> list[str]:
    """As many institutions with limits out of reach; a key of each."""
    secret = all_of.data / "secrets" / "pepper"
    peppers = NumberedKeys.read(secret, setting="the bench's pepper")
    admin = await asyncpg.connect(all_of.dsn("admin"))
    try:
        async with admin.transaction():
            now = from_datetime(await admin.fetchval("SELECT now()"))
            return [
                (await samples.institution(admin, peppers, samples.BULK, now))["key"]
                for _ in range(institutions)
            ]
    finally:
        await admin.close()


async def charged(all_of: Standing) -> int:
    """How many answers the log says were charged."""
    auditor = await asyncpg.connect(all_of.dsn("auditor"))
    found: int = await auditor.fetchval(
        "SELECT count(*) FROM entries WHERE outcome::integer IN (1, 2, 3, 4)"
    )
    await auditor.close()
    return found

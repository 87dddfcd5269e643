"""Client certificates of callers: bound to institutions, and as a proxy tells of them."""

import asyncio
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.clock import SECOND
from gateway.partners import keeping
from tests.acceptance.callers import Caller
from tests.acceptance.service import KNOWN_EVERYWHERE, Service

HEADER: Final = "X-Client-Certificate"
# The year 2100.
ENDS: Final = 4_102_444_800 * SECOND


def fingerprint(path: Path) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))).hexdigest()


def escaped(path: Path) -> str:
    """As `$ssl_client_escaped_cert` of nginx has it."""
    return quote(path.read_text("ascii"), safe="")


async def bind(service: Service, caller: Caller, *paths: Path) -> None:
    """Binds the caller's institution to these certificates, on every worker."""
    async with service.admin() as admin:
        for path in paths:
            await keeping.bind_certificate(
                admin,
                institution=caller.institution,
                fingerprint=fingerprint(path),
                label="of a test",
                not_after=ENDS,
            )
    await asyncio.sleep(KNOWN_EVERYWHERE)

"""Schemathesis over the gateway's own document: what it says is what is done.

Calls are made of the schemas, lawful and not, one after another and each of what an answer
before it gave; every answer is held against every check. Who asks is an institution, each
role of staff, and nobody.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from gateway.partners import keeping
from gateway.partners.keys import Environment
from tests.acceptance.service import KNOWN_EVERYWHERE, Service, running

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGURATION: Final = Path(__file__).with_name("schemathesis.toml")
# Each one's own routes. The admin comes last: it changes what the others stand on.
OWN: Final = {
    "nobody": "^/(log|health|metrics|problems|openapi)",
    "institution": "^/v1/",
    "auditor": "^/audit/",
    "ops": "^/ops/",
    "admin": "^/admin/",
}
# What is still answered to each afterwards, or all of it was about one long refused.
STILL: Final = {
    "nobody": "/openapi.json",
    "institution": "/v1/account",
    "auditor": "/audit/entries?limit=1&reason=after+all+that",
    "ops": "/ops/journal",
    "admin": "/admin/staff",
}
EDGES: Final = ("--phases", "examples,coverage")
ANY: Final = ("--max-examples", "100", "--phases", "fuzzing")
LINKS: Final = ("--max-examples", "100", "--phases", "stateful")
# The document links what these make, or find, to where it is read, changed and ended.
LINKED: Final = frozenset({"institution", "auditor", "admin"})


@pytest.fixture(scope="module")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service for these calls alone: they end keys and flood the log with refusals."""
    async with running(tmp_path_factory.mktemp("fuzzed"), newcomers=4) as service:
        yield service


@pytest.mark.slow
@pytest.mark.parametrize("who", OWN)
async def test_whoever_asks_is_answered_as_documented(alone: Service, who: str) -> None:
    key, member = await _key_of(alone, who)
    await _find_nothing(alone, key, member, *EDGES)
    own = ("--include-path-regex", OWN[who])
    await _find_nothing(alone, key, member, *ANY, *own)
    if who in LINKED:
        await _find_nothing(alone, key, member, *LINKS, *own)
    assert (await alone.ask("GET", STILL[who], key=key)).status == 200
    assert "unforeseen_error" not in alone.gateway.log_file.read_text("utf-8")


async def test_at_the_edges_of_its_schemas_an_institution_is_answered_as_documented(
    service: Service,
) -> None:
    key = service.newcomer().key
    some = ("--include-path-regex", "^/v1/(verify|account|receipts)")
    # Calls of nobody would be a flood to the tests that share this service.
    without = ("--exclude-checks", "ignored_auth")
    await _find_nothing(service, key, None, *EDGES, *some, *without)


async def _key_of(service: Service, who: str) -> tuple[str | None, int | None]:
    """A key or token that nobody else uses, and which member of staff holds it."""
    if who == "nobody":
        return None, None
    if who == "institution":
        return service.newcomer().key, None
    async with service.admin() as admin:
        made = await keeping.create_staff(
            admin,
            service.peppers,
            role=who,
            name="Uji",
            not_after=None,
            environment=Environment.TEST,
        )
    await asyncio.sleep(KNOWN_EVERYWHERE)
    return made.token.text, made.id


async def _find_nothing(
    service: Service, key: str | None, member: int | None, *arguments: str
) -> None:
    niks = service.folder / "niks"
    niks.write_text("\n".join(str(one["nik"]) for one in service.residents), "ascii")
    environment = {**os.environ, "GATEWAY_FUZZ_NIKS": str(niks)}
    configuration = CONFIGURATION.read_text("utf-8")
    if key is not None:
        # From the environment: a list of processes does not show it.
        configuration += '\n[headers]\nAuthorization = "Bearer ${GATEWAY_FUZZ_KEY}"\n'
        environment |= {"GATEWAY_FUZZ_KEY": key, "GATEWAY_FUZZ_MEMBER": str(member)}
    file = service.folder / "schemathesis.toml"
    file.write_text(configuration, "utf-8")
    document = f"http://127.0.0.1:{service.gateway.port}/openapi.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(file)),
        *("run", document, "--generation-database", "none", *arguments),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode("utf-8", "replace")

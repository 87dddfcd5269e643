"""GET /audit/summary over the whole application: who may ask, and what is entered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response

from gateway.app import create_app
from gateway.clock import from_datetime, to_text
from gateway.embedded.valkey import ValkeyServer
from gateway.partners import keeping
from gateway.partners.keys import Environment
from gateway.postgres import Connection
from gateway.settings import ServeSettings
from tests.conftest import Database
from tests.integration import logs

# The handlers' path parameters are declared in a style that Litestar will drop.
pytestmark = pytest.mark.filterwarnings(
    "ignore::litestar.exceptions.LitestarDeprecationWarning"
)
REASON = "yearly review 7"


@pytest.fixture
def settings(database: Database, valkey: ValkeyServer, tmp_path: Path) -> ServeSettings:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(f"1:{'00' * 32}\n", "ascii")
    files = ("pepper_file", "subject_keys_file", "signing_key_file")
    return ServeSettings.model_validate(
        {
            "postgres_dsn": database.dsn("hot"),
            "registry_dsn": database.dsn("registry"),
            "auditor_dsn": database.dsn("auditor"),
            "receipts_dsn": database.dsn("receipts"),
            "redis_url": valkey.url,
            "log_origin": logs.ORIGIN,
        }
        | dict.fromkeys(files, secret)
    )


@pytest.fixture
async def tokens(admin: Connection) -> dict[str, str]:
    return {
        role: (
            await keeping.create_staff(
                admin,
                logs.PEPPERS,
                role=role,
                name=role,
                not_after=None,
                environment=Environment.TEST,
            )
        ).token.text
        for role in ("auditor", "ops")
    }


@asynccontextmanager
async def opened(settings: ServeSettings) -> AsyncIterator[AsyncClient]:
    """The whole application, asked from an address; within one task, as it must be."""
    # Litestar has ASGI types of its own, narrower than httpx's.
    app: Any = create_app(settings)
    transport = ASGITransport(app, client=("192.0.2.9", 4711))
    async with (
        app.lifespan(),
        AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        async with asyncio.timeout(5):
            # Nothing tells when the first probes have been answered.
            while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.05)
        yield client


async def ask(client: AsyncClient, token: str, **query: str) -> Response:
    return await client.get(
        "/audit/summary",
        params=query,
        headers={"Authorization": f"Bearer {token}"},
    )


async def rows(client: AsyncClient, token: str, **query: str) -> list[dict[str, Any]]:
    answer = await ask(client, token, reason=REASON, **query)
    assert answer.status_code == 200
    document = answer.json()
    assert list(document) == ["by", "rows"]
    assert document["by"] == query["by"]
    held: list[dict[str, Any]] = document["rows"]
    return held


async def test_an_auditor_gets_the_counts_and_leaves_an_entry_with_the_reason(
    settings: ServeSettings, tokens: dict[str, str], hot: Connection
) -> None:
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
    await logs.write(hot, [logs.answer(now, 4), logs.refusal(now, 4, times=30)])
    past = to_text(now + 1)
    token = tokens["auditor"]
    async with opened(settings) as client:
        assert await rows(client, token, by="institution", to=past) == [
            {"key": 4, "entries": 31, "charged": 1, "refused": 30}
        ]
        assert await rows(client, token, by="purpose", to=past) == [
            {"key": "kyc", "entries": 1, "charged": 1, "refused": 0},
            {"key": None, "entries": 30, "charged": 0, "refused": 30},
        ]
        assert await rows(client, token, by="outcome", **{"from": past}) == [
            {"key": "done", "entries": 2, "charged": 0, "refused": 0}
        ]
        page = await client.get(
            "/audit/entries",
            params={"reason": REASON, "operation": "audit.summary"},
            headers={"Authorization": f"Bearer {token}"},
        )
    entries = page.json()["entries"]
    assert [(one["reference"], one["outcome"]) for one in entries] == [
        (REASON, "done")
    ] * 3


WRONG = [
    ({"by": "day"}, ["?reason"]),
    ({"reason": REASON}, ["?by"]),
    ({"by": "hour", "reason": REASON}, ["?by"]),
    ({"by": "day", "reason": REASON, "from": "today"}, ["?from"]),
    ({"by": "day", "reason": "x", "to": "", "for": "me"}, ["?for", "?reason", "?to"]),
]


async def test_what_is_wrong_with_the_question_is_said_all_at_once(
    settings: ServeSettings, tokens: dict[str, str]
) -> None:
    async with opened(settings) as client:
        for query, pointers in WRONG:
            answer = await ask(client, tokens["auditor"], **query)
            assert answer.status_code == 400
            assert [one["pointer"] for one in answer.json()["errors"]] == pointers


async def test_only_an_auditor_may_count_the_log(
    settings: ServeSettings, tokens: dict[str, str]
) -> None:
    async with opened(settings) as client:
        refused = await ask(client, tokens["ops"], by="day", reason=REASON)
        assert refused.status_code == 403
        assert refused.json()["type"] == "/problems/forbidden"
        unknown = await ask(client, "gds_test_nobody", by="day", reason=REASON)
        assert unknown.status_code == 401
        posted = await client.post(
            "/audit/summary", headers={"Authorization": f"Bearer {tokens['auditor']}"}
        )
        assert posted.status_code == 405

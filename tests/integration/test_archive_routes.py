"""Archived, expired and unreadable days over HTTP; Parquet; what alerts."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from gateway.audit import partitions, retention
from gateway.audit.days import begins, ends
from gateway.clock import SECOND, to_text
from gateway.embedded.valkey import ValkeyServer
from tests.conftest import Database
from tests.integration.archives import PastLog, past_log
from tests.integration.test_export_route import Auditor, serving

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.*deprecated inferred style"),
]


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    async with past_log(database, tmp_path / "archive", 2) as log:
        await log.fill(batches=3)
        await log.settle()
        yield log


def days(log: PastLog) -> dict[str, str]:
    first, past = begins(log.days[0]), ends(log.days[1])
    return {"reason": "yearly audit", "from": to_text(first), "to": to_text(past)}


def members(parquet: bytes, folder: Path) -> list[dict[str, Any]]:
    file = folder / "got.parquet"
    file.write_bytes(parquet)
    shown = "strftime(\"at\" AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS \"at\""
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * REPLACE ({shown}) FROM '{file}'")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


async def test_parquet_holds_every_member_of_every_line(
    log: PastLog, valkey: ValkeyServer, tmp_path: Path
) -> None:
    await log.archive(log.eve, log.days[0])
    async with serving(log, valkey.url, tmp_path, log.folder) as auditor:
        lines = await auditor.get(days(log) | {"format": "ndjson"})
        parquet = await auditor.get(days(log) | {"format": "parquet"})
        nothing = await auditor.get(
            {"reason": "before", "to": "2020-01-01T00:00:00Z", "format": "parquet"}
        )
    assert parquet.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert parquet.headers["Log-Range"] == lines.headers["Log-Range"]
    start = int(lines.headers["Log-Range"].partition("-")[0])
    expected = [
        json.loads(one) | {"leaf_index": start + n}
        for n, one in enumerate(lines.text.splitlines())
    ]
    found = members(parquet.content, tmp_path)
    assert found == expected
    assert len(found) > 60
    assert list(found[0]) == [*expected[0]]
    assert members(nothing.content, tmp_path) == []


async def asked(auditor: Auditor, log: PastLog, name: str) -> dict[str, httpx.Response]:
    """Every question of auditors about the first day."""
    why = {"reason": "complaint 42"}
    span = {"from": to_text(begins(log.days[0]) + 1), "to": to_text(ends(log.days[0]))}
    paths = {
        "search": ("/audit/entries", why | span),
        "entry": (f"/audit/entries/{name}", why),
        "proof": (f"/audit/entries/{name}/proof", why),
        "export": ("/audit/export", why | span),
        "summary": ("/audit/summary", why | span | {"by": "day"}),
    }
    answers = {
        what: await auditor.get(query, path) for what, (path, query) in paths.items()
    }
    answers["subject"] = await auditor.client.post(
        "/audit/subject-searches",
        json={"nik": "3171014501909001"} | why | span,
        headers=auditor.headers,
    )
    return answers


async def test_every_route_answers_the_same_then_expired_then_unreadable(
    log: PastLog, valkey: ValkeyServer, tmp_path: Path
) -> None:
    name = next(n for n, at in log.names.items() if at > begins(log.days[0]) + SECOND)
    async with serving(log, valkey.url, tmp_path, log.folder) as auditor:
        before = await asked(auditor, log, name)
        await log.archive(log.eve, *log.days)
        after = await asked(auditor, log, name)
        for what, answer in before.items():
            assert answer.status_code == 200
            if what != "proof":
                assert after[what].content == answer.content
        assert after["proof"].json()["entry"] == before["proof"].json()["entry"]
        log.file(log.days[0]).rename(tmp_path / "away")
        unreadable = await asked(auditor, log, name)
        (tmp_path / "away").rename(log.file(log.days[0]))
        await retention.expire(log.owner, log.folder, log.days[1], log.enter)
        expired = await asked(auditor, log, name)
    told = {what: (one.status_code, problem(one)) for what, one in unreadable.items()}
    export = told.pop("export")
    assert set(told.values()) == {(503, "archive-unavailable")}
    assert export == (503, "archive-unavailable")
    told = {what: (one.status_code, problem(one)) for what, one in expired.items()}
    assert set(told.values()) == {(410, "entries-expired")}
    assert str(log.days[0]) in expired["search"].json()["detail"]


def problem(answer: httpx.Response) -> str:
    slug: str = answer.json()["type"].rpartition("/")[2]
    return slug


async def test_rows_without_a_partition_degrade_until_they_are_moved(
    log: PastLog, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with serving(log, valkey.url, tmp_path) as auditor:
        await degraded(auditor, "default-partition", there=False)
        await log.write(begins(log.days[-1] + timedelta(days=60)), 3, SECOND)
        await degraded(auditor, "default-partition", there=True)
        metrics = await auditor.client.get("/metrics")
        assert "gateway_default_partition_rows 4.0" in metrics.text
        await partitions.repair(log.owner)
        await degraded(auditor, "default-partition", there=False)


async def degraded(auditor: Auditor, name: str, *, there: bool) -> None:
    async with asyncio.timeout(5):
        while True:
            told = (await auditor.client.get("/health/ready")).json()["degraded"]
            if (name in told) is there and "postgres" not in told:
                return
            await asyncio.sleep(0.05)

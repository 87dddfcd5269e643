"""`gateway audit` partitions, archive, expire, hold, release and export, as they are typed."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.audit.inspection import Criteria, Inspection
from gateway.audit_commands import app
from tests.conftest import Database
from tests.integration.archives import PastLog, past_log
from tests.written_logs import KEY

pytestmark = pytest.mark.integration

WHY = ("--reason", "letter 12 of the archive")


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[PastLog]:
    async with past_log(database, tmp_path / "archive", 2) as log:
        await log.fill(batches=2)
        await log.settle()
        yield log


async def run(log: PastLog, *given: object, **settings: str) -> Result:
    pepper = log.folder.parent / "pepper"
    pepper.touch(mode=0o600)
    pepper.write_text(f"1:{'00' * 32}\n")
    environment = {
        "GATEWAY_OWNER_DSN": log.database.dsn("owner"),
        "GATEWAY_AUDITOR_DSN": log.database.dsn("auditor"),
        "GATEWAY_PEPPER_FILE": str(pepper),
        "GATEWAY_ARCHIVE_DIR": str(log.folder),
    } | settings
    words = [str(one) for one in given]
    # In a thread, where the command runs a loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)


async def test_the_life_of_a_day_on_the_command_line(
    log: PastLog, tmp_path: Path
) -> None:
    day, after = log.days[0], log.days[1]
    archived = await run(log, "archive", "--before", after, *WHY, "--json")
    assert archived.exit_code == 0, archived.stderr
    told = [json.loads(line) for line in archived.stdout.splitlines()]
    assert [one["day"] for one in told] == [str(log.eve), str(day)]
    assert told[1]["bytes"] == log.file(day).stat().st_size
    again = await run(log, "archive", "--before", after, *WHY)
    assert (again.exit_code, again.stdout) == (0, "")

    file = tmp_path / "log.ndjson"
    span = ("--from", f"{day}T00:00:00+07:00", "--to", f"{after}T12:00:00+07:00")
    assert (await run(log, "export", file, *span)).exit_code == 0
    assert (await run(log, "verify", file, "--key", KEY.text)).exit_code == 0

    held = await run(log, "hold", day, day, *WHY, "--json")
    number = json.loads(held.stdout)["id"]
    expired = await run(log, "expire", "--before", after, *WHY, "--json")
    assert json.loads(expired.stdout) == {
        "expired": [str(log.eve)],
        "held": [str(day)],
        "waiting": [],
    }
    listed = json.loads((await run(log, "partitions", "--json")).stdout)
    states = {one["day"]: (one["state"], one["held"]) for one in listed["days"]}
    assert states[str(log.eve)] == ("expired", False)
    assert states[str(day)] == ("archived", True)
    assert states[str(after)] == ("closed", False)
    assert listed["default_rows"] == listed["moved"] == 0
    assert f"entries_{after:%Y%m%d}" in listed["tidied"]
    again = json.loads((await run(log, "partitions", "--json")).stdout)
    assert again["tidied"] == []

    assert (await run(log, "release", number, *WHY)).exit_code == 0
    assert (await run(log, "release", number, *WHY)).exit_code == 1
    # It waits for the day after, which is not archived.
    waiting = await run(log, "expire", "--before", after, *WHY)
    assert f"the day after: {day}" in waiting.stdout
    refused = await run(log, "export", file, *span[:3], f"{day}T00:00:00+07:00")
    assert refused.exit_code == 1
    await log.settle()
    assert await entered(log) == ["archive"] * 2 + ["hold", "expire", "release"]


async def entered(log: PastLog) -> list[str]:
    page = await Inspection(log.auditor).page(Criteria(), None, 1000)
    own = [json.loads(line) for line, _ in reversed(page.entries)]
    return [
        one["operation"].removeprefix("audit.")
        for one in own
        if one["reference"] == WHY[1]
        and (one["actor"], one["outcome"]) == ("admin", "done")
    ]


async def test_what_was_asked_wrongly_is_told_at_once_and_does_nothing(
    log: PastLog,
) -> None:
    bad = await run(log, "archive", "--before", "yesterday", "--reason", "x")
    assert bad.exit_code == 2
    assert "--before" in bad.stderr
    assert "--reason" in bad.stderr
    young = await run(log, "archive", "--before", "2100-01-01", *WHY)
    assert young.exit_code == 1
    assert "at the latest" in young.stderr
    backwards = await run(log, "hold", log.days[1], log.days[0], *WHY)
    assert backwards.exit_code == 2
    unset = await run(log, "expire", "--before", log.eve, *WHY, GATEWAY_PEPPER_FILE="")
    assert unset.exit_code == 78
    gone = await run(log, "partitions", GATEWAY_OWNER_DSN="postgresql://127.0.0.1:1/x")
    assert gone.exit_code == 69


async def test_a_folder_that_cannot_be_written_is_a_sentence(
    log: PastLog, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "archive")
    told = await run(
        log, "archive", "--before", log.days[0], *WHY, GATEWAY_ARCHIVE_DIR=nowhere
    )
    assert told.exit_code == 1
    assert "cannot be written" in told.stderr


async def test_an_expired_day_cannot_be_exported(log: PastLog, tmp_path: Path) -> None:
    await log.archive(log.eve, *log.days)
    assert (await run(log, "expire", "--before", log.days[1], *WHY)).exit_code == 0
    span = ("--from", f"{log.days[0]}T00:00:00Z", "--to", f"{log.days[1]}T12:00:00Z")
    told = await run(log, "export", tmp_path / "log", *span)
    assert told.exit_code == 1
    assert "expired" in told.stderr
    late = await run(log, "hold", log.eve, log.days[0] + timedelta(days=9), *WHY)
    assert "Too late" in late.stderr

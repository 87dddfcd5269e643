"""The command line, run as a process of its own on a test's database."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.audit.inspection import Criteria, Inspection
from gateway.postgres import pool
from tests.conftest import Database

WHY = ("--reason", "letter 12 of the ministry")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    database: Database
    pepper: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "GATEWAY_ADMIN_DSN": self.database.dsn("admin"),
            "GATEWAY_PEPPER_FILE": str(self.pepper),
        }

    async def run(self, *words: str, **settings: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *words),
            env={"PATH": os.environ["PATH"], **self.settings, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        ended = Ended(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in ended.err
        return ended

    async def made(self, *words: str) -> Any:
        """What a change answers a program."""
        return (await self.run(*words, *WHY, "--json")).document

    async def listed(self, what: str) -> Any:
        return (await self.run(what, "list", "--json")).document

    async def entries(self) -> list[dict[str, Any]]:
        """Every line of the log, oldest first."""
        dsn = self.database.dsn("auditor")
        async with pool(dsn, name="test", size=1, statement_seconds=10) as opened_pool:
            page = await Inspection(opened_pool).page(Criteria(), None, 100)
        return [json.loads(line) for line, _ in reversed(page.entries)]


def command_line(database: Database, folder: Path) -> CommandLine:
    """With a pepper of its own in that folder."""
    pepper = folder / "pepper"
    pepper.touch(mode=0o600)
    pepper.write_text(f"1:{'ab' * 32}\n", "ascii")
    return CommandLine(database, pepper)

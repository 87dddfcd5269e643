"""The log held against itself: what was sealed since the last look, and all of it."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.audit import tree
from gateway.audit.checkpoint import NoteKey
from gateway.audit.export import Exports, write_export
from gateway.audit.extract import Extract
from gateway.audit.merkle import Frontier
from gateway.audit.sealed import SealedLog
from gateway.audit.tree import Head, NotAsSealed
from gateway.audit.verification import verify
from gateway.postgres import Pool

SEALED_SECONDS: Final = 60.0
_ENTRIES: Final = "SELECT count(*) FROM entries"


class History:
    """Reads as the auditor, writes exports into `folder`, remembers the last head."""

    def __init__(self, auditor: Pool, keys: Sequence[NoteKey], folder: Path) -> None:
        self._auditor = auditor
        self._keys = keys
        self._folder = folder
        self._head: Head | None = None

    async def look(self) -> list[str]:
        """What is wrong: the log has grown since the last look, and nothing else."""
        old, head = self._head, await self._newest()
        if head is None:
            return []
        start = 0 if old is None else old.size
        if head.size == start:
            return [] if old in {None, head} else ["one size has two heads"]
        if head.size < start:
            return [f"the log shrank from {start} to {head.size}"]
        left, flaws = await self._verified(start, head, self._folder / "grown.ndjson")
        if old is not None and Frontier(start, left).root() != old.root:
            flaws.append(f"what was sealed up to {start} is not what was signed")
        # Not before: where PostgreSQL goes away meanwhile, all of it is looked at again.
        self._head = head
        return flaws

    async def whole(self, file: Path) -> list[str]:
        """What is wrong with all of it, written to `file`; every entry is sealed."""
        flaws = await self.look()
        deadline = time.monotonic() + SEALED_SECONDS
        while (head := await self._newest()) is None or head.size < await self._count():
            if time.monotonic() > deadline:
                return [*flaws, "not every entry is sealed after a minute"]
            await asyncio.sleep(0.2)
        flaws += await self.look()
        return flaws + (await self._verified(0, head, file))[1]

    async def _newest(self) -> Head | None:
        async with self._auditor.acquire() as connection:
            return await tree.head(connection)

    async def _count(self) -> int:
        async with self._auditor.acquire() as connection:
            return int(await connection.fetchval(_ENTRIES))

    async def _verified(
        self, start: int, head: Head, file: Path
    ) -> tuple[list[bytes], list[str]]:
        """Exports the leaves from `start` on and judges the files as anybody could."""
        proof = await SealedLog(self._auditor).range(start, head.size, head.size)
        extract = Extract(start, head.size, head, proof)
        try:
            await write_export(Exports(self._auditor), file, extract)
        except NotAsSealed as error:
            return proof.left, [str(error)]
        verdict = await asyncio.to_thread(verify, [file], self._keys)
        return proof.left, [flaw.sentence for flaw in verdict.flaws]

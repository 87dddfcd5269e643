"""Systems that stand side by side, alike in all but one size: what growth.py measures."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from gateway.clock import ServerClock
from gateway.embedded import callers, demo, samples
from gateway.embedded.demo import Standing
from gateway.embedded.ports import free_port
from gateway.partners import keeping
from gateway.partners.directory import Directory
from gateway.postgres import Link
from gateway.settings import NumberedKeys
from tests.benchmarks import console_log

# Of what does not grow.
ELSE: Final = {"institutions": 1_000, "residents": 50_000, "workers": 2}
LOOKS: Final = 20


@contextmanager
def stand(what: str, size: int, folder: Path) -> Iterator[tuple[Standing, list[str]]]:
    """A system of that size, and keys of those who call it."""
    sizes = ELSE | {what: size}
    port = free_port()
    if what == "entries":
        with console_log.standing(folder, size, port, sizes["workers"]) as over:
            servers = (over.gateway, over.postgres, over.valkey)
            all_of = Standing(folder, port, over.credentials, *servers)
            yield all_of, kept_keys(all_of, sizes["institutions"], in_the_log=True)
        return
    with demo.standing(
        port=port,
        data=folder,
        residents=sizes["residents"],
        workers=sizes["workers"],
    ) as all_of:
        yield all_of, kept_keys(all_of, sizes["institutions"])


def kept_keys(
    all_of: Standing, institutions: int, *, in_the_log: bool = False
) -> list[str]:
    """Made once: nobody can read a key again."""
    path = all_of.data / "callers.json"
    if not path.exists():
        make = keys_of_the_log if in_the_log else callers.take_on
        made = asyncio.run(make(all_of, institutions))
        samples.write_credentials(path, {"keys": made})
    keys: list[str] = json.loads(path.read_text("utf-8"))["keys"]
    return keys


async def keys_of_the_log(all_of: Standing, institutions: int) -> list[str]:
    """Of those who ask most in it, but the first, who has as many keys as may be."""
    admin = await asyncpg.connect(all_of.dsn("admin"))
    async with admin.transaction():
        keys = [
            await console_log.another_key(admin, peppers(all_of), number)
            for number in range(2, institutions + 2)
        ]
    await admin.close()
    return keys


def peppers(all_of: Standing) -> NumberedKeys:
    path = all_of.data / "secrets" / "pepper"
    return NumberedKeys.read(path, setting="the bench's pepper")


async def looks(all_of: Standing) -> dict[str, float]:
    """Milliseconds of a worker's look at the directory, as they do every half second."""
    link, listener = (
        Link(all_of.dsn("hot"), name="bench", statement_seconds=60) for _ in range(2)
    )
    directory = Directory(link, listener, peppers(all_of), ServerClock())
    admin = await asyncpg.connect(all_of.dsn("admin"))

    async def look() -> float:
        began = time.perf_counter()
        await directory.refresh()
        return (time.perf_counter() - began) * 1000

    async def after_a_change() -> float:
        await keeping.create_institution(admin, "Institution of a bench")
        return await look()

    try:
        return {
            "all": await look(),
            "nothing new": statistics.median([await look() for _ in range(LOOKS)]),
            "one new": statistics.median([await after_a_change() for _ in range(3)]),
        }
    finally:
        await admin.close()
        link.drop()

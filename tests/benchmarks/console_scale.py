"""How long the console's pages take over a log of ten million entries.

`python -m tests.benchmarks.console_scale --data FOLDER --rows 10000000`: a month of lookups as
filling.py makes them, counted and tidied, and a gateway over it; the folder is kept and
taken up again. As each role every page is asked for `--rounds` times with warm caches, and `--cold` times after
PostgreSQL has begun anew and its files are out of the machine's memory. What is told is the
time from the request's last byte to the answer's last, and, since others may be at work on this
machine, the CPU that the gateway and PostgreSQL have taken for it meanwhile.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import asyncpg
from rich.table import Table

from gateway.audit.entry import Place, access_id
from gateway.embedded import demo
from gateway.embedded.wire import Answer, Connection
from tests.benchmarks.console_log import BUSIEST, Standing, console, standing
from tests.benchmarks.parts import cpu_of_family

ROUNDS: Final = 20
TRIES: Final = 50
MOST_MS: Final = 200.0
REASON: Final = urlencode({"reason": "bench 42"})
NIK: Final = "3171014501909001"
SELDOM: Final = 5_000


@dataclass(frozen=True, slots=True)
class Page:
    """A page, by the one who sees it; `form` is what is sent to it, if anything."""

    role: str
    target: str
    form: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        sent = " POST" if self.form else ""
        return f"{self.role}{sent} {self.target.replace(REASON, '…')}"


def pages(entry: str, agreement: int) -> Iterator[Page]:
    """Every page with its first view, and each search with the answers it may have."""
    for target in (
        "",
        *(f"?{REASON}{more}" for more in _searches()),
        "/person",
        "/trends",
        *(
            f"/trends?{REASON}&by={by}"
            for by in ("day", "institution", "outcome", "purpose")
        ),
        "/export",
        "/own",
        f"/entries/{entry}?{REASON}",
    ):
        yield Page("auditor", f"/console/audit{target}")
    person = {"nik": NIK, "reason": "bench 42"}
    yield Page("auditor", "/console/audit/person", person)
    for target in ("", "/limits", "/limits?order=used"):
        yield Page("ops", f"/console/ops{target}")
    for target in (
        *("", "/entries", "/entries?outcome=refused", "/entries?outcome=failed"),
        *("/samples", f"/receipts/{entry}"),
    ):
        yield Page("institution", f"/console/own{target}")
    for target in (
        *("", "?name=ution+50", "/take-on", "/keys", "/staff"),
        *(f"/institutions/{BUSIEST}", f"/institutions/{BUSIEST}/agreement"),
        *(f"/agreements/{agreement}", f"/agreements/{agreement}/limits"),
    ):
        yield Page("admin", f"/console/admin{target}")


def _searches() -> Iterator[str]:
    yield ""
    for institution in (BUSIEST, SELDOM):
        yield f"&institution={institution}"
        yield f"&institution={institution}&outcome=refused"
        yield f"&key=k{institution:07d}"
    # Of these there are many, a few among many, and none at all.
    yield from ("&outcome=matched", "&outcome=refused", "&outcome=failed")
    yield from ("&operation=fetch", "&operation=key.revoke", "&actor=admin")
    yield from ("&purpose=kyc", "&purpose=kyc&outcome=failed")


class Visitor:
    """Somebody who is signed in."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""
        self._csrf = ""

    async def sign_in(self, credential: str) -> None:
        answer = await self._ask("POST", "/console/session", {"credential": credential})
        self._cookie = answer.headers["set-cookie"].partition(";")[0]
        home = (await self._ask("GET", "/console")).headers["location"]
        page = (await self._ask("GET", home)).body.decode()
        found = re.search(r'name="csrf" value="([^"]*)"', page)
        if found is None:
            raise RuntimeError("a page has no button to sign out")
        self._csrf = unescape(found[1])

    async def milliseconds(self, page: Page) -> float:
        method = "POST" if page.form else "GET"
        status = 0
        for _ in range(TRIES):
            answer = await self._ask(method, page.target, page.form)
            if answer.status == 200:
                return answer.seconds * 1000
            status = answer.status
            # A worker that has not found PostgreSQL again yet reads nothing there.
            await asyncio.sleep(0.1)
        raise RuntimeError(f"{page.title}: {status}")

    async def _ask(
        self, method: str, target: str, form: dict[str, str] | None = None
    ) -> Answer:
        headers = {"Host": "localhost", "Accept-Language": "en"}
        body = None
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode({"csrf": self._csrf, **(form or {})}).encode()
        if self._cookie:
            headers["Cookie"] = self._cookie
        async with Connection.opened(self._port) as connection:
            return await connection.ask(
                method, target, headers=headers, body=body, within=120.0
            )


def cpu_ms(all_of: Standing) -> float:
    """What the gateway's processes and PostgreSQL's have taken, ended ones included."""
    parents = (all_of.gateway.pid, all_of.postgres.pid)
    return sum(map(cpu_of_family, parents)) * 1000


def forget(folder: Path) -> None:
    """The files leave the machine's memory; what others hold there stays."""
    os.sync()
    for path in folder.rglob("*"):
        # PostgreSQL takes files away meanwhile.
        with suppress(FileNotFoundError):
            if path.is_file():
                handle = os.open(path, os.O_RDONLY)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)


async def known(all_of: Standing) -> tuple[str, int]:
    """An entry of the busiest institution from the middle of the month; its agreement."""
    superuser = await asyncpg.connect(all_of.postgres.dsn(database=demo.DATABASE))
    try:
        row = await superuser.fetchrow(
            "SELECT batch, position FROM entries WHERE institution = $1"
            " AND at > now() - interval '15 days' ORDER BY at LIMIT 1",
            BUSIEST,
        )
        agreement: int = await superuser.fetchval(
            "SELECT max(id) FROM agreements WHERE institution = $1", BUSIEST
        )
    finally:
        await superuser.close()
    if row is None:
        raise RuntimeError("the log has no such entry")
    return access_id(Place(row["batch"], row["position"])), agreement


async def run(
    all_of: Standing, rounds: int, cold: int
) -> dict[str, dict[str, list[float]]]:
    visitors = {}
    for role, credential in all_of.credentials.items():
        visitors[role] = Visitor(all_of.gateway.port)
        await visitors[role].sign_in(credential)
    every = list(pages(*await known(all_of)))
    taken: dict[str, dict[str, list[float]]] = {
        one.title: {"warm": [], "cold": [], "cpu": []} for one in every
    }
    chance = random.Random(1)  # noqa: S311 - for a benchmark

    async def one_round(kind: str) -> None:
        for page in chance.sample(every, len(every)):
            before = cpu_ms(all_of)
            spent = await visitors[page.role].milliseconds(page)
            taken[page.title][kind].append(spent)
            if kind == "warm":
                taken[page.title]["cpu"].append(cpu_ms(all_of) - before)

    await one_round("warm")
    for held in taken.values():
        # The first round warms up.
        held["warm"].clear()
        held["cpu"].clear()
    for number in range(rounds):
        console.print(f"warm round {number + 1}", end="\r")
        await one_round("warm")
    for number in range(cold):
        console.print(f"cold round {number + 1}", end="\r")
        await asyncio.to_thread(all_of.restart_postgres, forget)
        await one_round("cold")
    return taken


def show(taken: dict[str, dict[str, list[float]]]) -> None:
    columns = ("ms, median and most", "cpu", "", "warm", "", "cold", "")
    table = Table(*columns)
    for title, held in taken.items():
        told = [
            f(held[kind])
            for kind in ("cpu", "warm", "cold")
            for f in (statistics.median, max)
        ]
        style = "red" if max(told[2], told[4]) > MOST_MS else None
        table.add_row(title, *(f"{one:.0f}" for one in told), style=style)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cold", type=int, default=ROUNDS)
    parser.add_argument("--port", type=int, default=18_440)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with standing(
        arguments.data.resolve(), arguments.rows, arguments.port, workers=2
    ) as all_of:
        taken = asyncio.run(run(all_of, arguments.rounds, arguments.cold))
    if arguments.json:
        document = {"load_average": os.getloadavg(), "ms": taken}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    show(taken)


if __name__ == "__main__":
    main()

"""`gateway chaos`: clients that keep a ledger, while everything breaks around them.

Faults come one at a time, in an order that the seed gives, every kind once before any
comes twice; all kinds, or those that are named. After each one the service is waited for and the log held against itself; in
the end the ledger is held against the log (judging.py).
"""

import asyncio
import itertools
import math
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from gateway.audit.charges import Charges
from gateway.audit.checkpoint import note_keys
from gateway.embedded import clocks, demo, judging, outcome
from gateway.embedded.faults import Fault
from gateway.embedded.history import History
from gateway.embedded.judging import Finding, Span
from gateway.embedded.outcome import Befallen, Outcome, console
from gateway.embedded.plan import Plan
from gateway.embedded.processes import ServerError
from gateway.embedded.stage import WORKERS, Stage, set_up
from gateway.embedded.wire import Connection, Lost
from gateway.postgres import SERVER_GONE, Pool, pool
from gateway.quota.reconciliation import Difference, reconcile
from gateway.redis import open_server
from gateway.settings import NumberedKeys

REST_SECONDS: Final = (0.3, 2.0)
WHOLE_SECONDS: Final = 90.0
# Answers in a row that say so: each comes from a worker that the kernel chose.
WHOLE_ANSWERS: Final = 8
WHOLE: Final = {"ready": True, "degraded": []}
# What the last calls left is committed by then.
QUIET_SECONDS: Final = 3.0
MINUTE: Final = 60.0


@dataclass(slots=True)
class Chaos:
    """One run over what stands."""

    stage: Stage
    history: History
    chance: Random
    plan: Plan
    verified: Finding = field(
        default_factory=lambda: Finding("I4", "the log verifies after every recovery")
    )
    befallen: list[Befallen] = field(default_factory=list)

    async def run(self) -> None:
        """The faults of the plan, while the clients ask; then all is quiet.

        Raises:
            ServerError: the service was not whole again, or no fault can be made.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.stage.asking.run())
                await self._break()
                self.stage.asking.ending = True
        except* ServerError as found:
            (error,) = found.exceptions
            raise error from None
        await asyncio.sleep(QUIET_SECONDS)

    async def _break(self) -> None:
        until = math.inf
        if self.plan.minutes is not None:
            until = time.monotonic() + self.plan.minutes * MINUTE
        await self._served(since=time.monotonic())
        for fault in self._drawn():
            if time.monotonic() > until:
                return
            await asyncio.sleep(self.chance.uniform(*REST_SECONDS))
            await self._befall(fault)

    def _drawn(self) -> Iterator[Fault]:
        """All of them in a random order, and again in another: so often, or for ever."""
        possible = [one for one in self.plan.faults if not missing(one, self.stage)]
        if not possible:
            raise ServerError("None of these faults can be made here.")
        times = self.plan.times
        for _ in itertools.count() if times is None else range(times):
            yield from self.chance.sample(possible, len(possible))

    async def _befall(self, fault: Fault) -> None:
        outcome.tell_begun(fault.name, len(self.stage.asking.ledger.calls))
        began, in_flight = time.monotonic(), self.stage.asking.ledger.in_flight
        await fault.act(self.stage, self.chance)
        over = time.monotonic()
        served = await self._served(since=over) - over
        await self._whole()
        ended = time.monotonic()
        befallen = Befallen(fault.name, Span(began, ended), over, served, in_flight)
        self.befallen.append(befallen)
        outcome.tell_over(befallen)
        await self._verify()

    async def _verify(self) -> None:
        self.verified.looked_at += 1
        for flaw in await self._flaws():
            self.verified.breaks(flaw)

    async def _flaws(self) -> list[str]:
        """PostgreSQL may only now end the sessions beside one that was killed."""
        since = time.monotonic()
        while True:
            try:
                return await self.history.look()
            except SERVER_GONE as error:
                self._check_patience(since, type(error).__name__)
                await asyncio.sleep(0.1)

    async def _served(self, *, since: float) -> float:
        """When the first answer with data came to a call that was sent since then."""
        asking = self.stage.asking
        before = asking.ledger.statuses
        while asking.served[1] < since:
            told = dict(asking.ledger.statuses - before)
            self._check_patience(since, f"nobody is served, and told {told}")
            await asyncio.sleep(0.01)
        return asking.served[0]

    async def _whole(self) -> None:
        """Until every worker can be asked again, and each says that it lacks nothing."""
        since, well = time.monotonic(), 0
        while well < WHOLE_ANSWERS:
            fewer = self.stage.gateway.listening() < WORKERS
            lacks = "a worker is missing" if fewer else await self._lacks()
            self._check_patience(since, lacks or "they differ")
            well = 0 if lacks else well + 1
            await asyncio.sleep(0.02)

    async def _lacks(self) -> str | None:
        """What a worker says that it lacks."""
        try:
            async with Connection.opened(self.stage.gateway.port) as connection:
                answer = await connection.ask("GET", "/health/ready", within=2)
        except (Lost, OSError) as error:
            return type(error).__name__
        return None if answer.json == WHOLE else answer.body.decode()

    def _check_patience(self, since: float, lacks: str) -> None:
        if time.monotonic() > since + WHOLE_SECONDS:
            raise ServerError(
                f"The service is not whole again after {WHOLE_SECONDS:.0f} s: {lacks}."
            )


def missing(fault: Fault, stage: Stage) -> str | None:
    """Why this fault cannot be made here."""
    if fault.needs == "disk" and stage.disk is None:
        return "this process may not mount a file system (root may)"
    if fault.needs == "clock" and clocks.LIBRARY is None:
        return "libfaketime is not installed (the Debian package faketime)"
    return None


def run(
    *,
    minutes: float | None,
    times: int | None,
    only: Sequence[str],
    seed: int | None,
    json_file: Path | None,
) -> None:
    """Runs, prints what befell and what came of it, and writes it as JSON.

    Raises:
        InvalidRequest: see Plan.asked.
        ServerError: with a sentence: something could not be started or was never whole
            again, or an invariant is broken.
    """
    seed = secrets.randbelow(2**32) if seed is None else seed
    plan = Plan.asked(seed, minutes, times, only)
    console.print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="gateway-chaos-") as folder:
        # Others may enter, so that an unprivileged server reaches its own folder.
        Path(folder).chmod(0o755)
        try:
            found = asyncio.run(_interruptible(Path(folder), plan))
        except ServerError as error:
            raise ServerError(f"{error} {_kept_log(Path(folder))}") from None
    outcome.report(found, json_file)
    if broken := [one.name for one in found.findings if one.broken]:
        raise ServerError(f"Broken: {', '.join(broken)}.")


def _kept_log(folder: Path) -> str:
    """What the gateway logged outlives the folder, for whoever looks into it."""
    log = folder / "gateway.log"
    if not log.exists():
        return "The gateway was not started."
    kept = folder.with_suffix(".log")
    shutil.copyfile(log, kept)
    return f"What the gateway logged is in {kept}."


async def _interruptible(folder: Path, plan: Plan) -> Outcome:
    task = asyncio.current_task()
    if task is not None:
        # As Ctrl-C, also where a shell started us with it ignored.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await play(folder, plan)


async def play(folder: Path, plan: Plan) -> Outcome:
    """All of one run, in an empty folder."""
    began = time.monotonic()
    chance = Random(plan.seed)  # noqa: S311 - a plan, no secret
    async with set_up(folder, minutes=plan.about_minutes, chance=chance) as stage:
        dsn = stage.auditor_dsn
        async with pool(dsn, name="chaos", size=2, statement_seconds=120) as auditor:
            signing = folder / "secrets" / "signing-key"
            keys = note_keys(NumberedKeys.read(signing, setting="its key"), demo.ORIGIN)
            chaos = Chaos(stage, History(auditor, keys, folder), chance, plan)
            await chaos.run()
            findings = await _judge(chaos, auditor)
        statuses = stage.asking.ledger.statuses
        not_run = {one.name: why for one in plan.faults if (why := missing(one, stage))}
    seconds = time.monotonic() - began
    return Outcome(plan, seconds, statuses, chaos.befallen, not_run, findings)


async def _judge(chaos: Chaos, auditor: Pool) -> list[Finding]:
    stage, ledger = chaos.stage, chaos.stage.asking.ledger
    console.print(f"{len(ledger.calls):,} calls against the log ...")
    file = stage.folder / "whole.ndjson"
    for flaw in await chaos.history.whole(file):
        chaos.verified.breaks(flaw)
    differences = await _differences(stage, auditor)
    entries = list(judging.lines(file)) if file.exists() else []
    spans = [one.span for one in chaos.befallen]
    partners = stage.asking.partners
    return [
        judging.answered(ledger, entries),
        judging.unanswered(ledger, entries, spans),
        judging.once(entries),
        chaos.verified,
        judging.charged(ledger, entries, differences),
        judging.within_limits(partners, entries),
        judging.rightly_told(ledger, partners),
    ]


async def _differences(stage: Stage, auditor: Pool) -> list[Difference]:
    async with open_server(stage.valkey.url) as client:
        return (await reconcile(client, auditor, Charges(auditor))).differences

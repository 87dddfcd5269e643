"""What `gateway chaos` does to what stands, one fault at a time."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

import psutil

from gateway.embedded import clocks
from gateway.embedded.breaking import family, frozen, killed
from gateway.embedded.copies import discard, promote, synchronous_standby
from gateway.embedded.passage import Lost
from gateway.embedded.processes import ServerError
from gateway.embedded.stage import Stage

AWAY_SECONDS: Final = (0.3, 3.0)
MISSET_SECONDS: Final = (1.0, 4.0)
FOLLOW_SECONDS: Final = 20.0
UNFOLLOWED_SECONDS: Final = 0.5
FULL_SECONDS: Final = (2.0, 5.0)
COMMIT_SECONDS: Final = 1.5
# Those of its processes that work for the gateway.
SESSIONS: Final = "postgres: gateway_"
JOURNAL: Final = b"gateway-journal"
PIECE_BYTES: Final = 16 << 20
NEARLY_FULL: Final = 0.04

Act = Callable[[Stage, Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind: `act` breaks something and puts right what would not right itself."""

    name: str
    act: Act
    needs: Literal["disk", "clock"] | None = None


async def _away(chance: Random) -> None:
    await asyncio.sleep(chance.uniform(*AWAY_SECONDS))


def _worker(stage: Stage, chance: Random) -> psutil.Process:
    return psutil.Process(chance.choice(sorted(stage.gateway.workers())))


def _session(stage: Stage, chance: Random) -> psutil.Process:
    """A process of PostgreSQL's that works for the gateway."""
    found = [
        one
        for one in family(stage.postgres.pid)
        if " ".join(one.cmdline()).startswith(SESSIONS)
    ]
    if not found:
        raise ServerError("PostgreSQL has no session of the gateway's.")
    return chance.choice(found)


async def kill_worker(stage: Stage, chance: Random) -> None:
    _worker(stage, chance).kill()


async def kill_sealer(stage: Stage, _: Random) -> None:
    pid = stage.gateway.sealer()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


async def kill_gateway(stage: Stage, chance: Random) -> None:
    await asyncio.to_thread(stage.gateway.kill)
    await _away(chance)
    await stage.start_gateway()


async def kill_postgres(stage: Stage, chance: Random) -> None:
    async with killed(stage.postgres):
        await _away(chance)


async def kill_session(stage: Stage, chance: Random) -> None:
    """PostgreSQL then ends all the others and recovers, by itself."""
    _session(stage, chance).kill()


async def stop_postgres(stage: Stage, chance: Random) -> None:
    await asyncio.to_thread(stage.postgres.stop, "immediate")
    await _away(chance)
    await stage.start_postgres()


async def fail_over_postgres(stage: Stage, chance: Random) -> None:
    """To a synchronous standby, for which commits have waited for a while."""
    old = stage.postgres
    folder = old.folder.with_name(f"postgres-{len(stage.copies) + 1}")
    standby = await synchronous_standby(old, folder)
    stage.copies.append(standby)
    await _away(chance)
    await asyncio.to_thread(old.kill)
    await promote(standby)
    stage.postgres = standby
    stage.log_way.lead(standby.port)
    await asyncio.to_thread(discard, old)


async def kill_valkey(stage: Stage, chance: Random) -> None:
    async with killed(stage.valkey):
        await _away(chance)


async def freeze_worker(stage: Stage, chance: Random) -> None:
    async with frozen([_worker(stage, chance)]):
        await _away(chance)


async def freeze_parent(stage: Stage, chance: Random) -> None:
    async with frozen([psutil.Process(stage.gateway.pid)]):
        await _away(chance)


async def freeze_postgres(stage: Stage, chance: Random) -> None:
    async with frozen(family(stage.postgres.pid)):
        await _away(chance)


async def freeze_session(stage: Stage, chance: Random) -> None:
    async with frozen([_session(stage, chance)]):
        await _away(chance)


async def freeze_valkey(stage: Stage, chance: Random) -> None:
    async with frozen(family(stage.valkey.pid)):
        await _away(chance)


async def empty_valkey(stage: Stage, _: Random) -> None:
    await asyncio.to_thread(stage.ask_valkey, stage.valkey, "FLUSHALL")


def _follows(stage: Stage) -> bool:
    told = stage.ask_valkey(stage.spare, "INFO", "replication")
    return bool(told["master_link_status"] == "up")


async def fail_over(stage: Stage, _: Random) -> None:
    """To a copy that lacks the last writes: it stopped following a moment before."""
    ask = stage.ask_valkey
    old, new = stage.valkey, stage.spare
    await asyncio.to_thread(ask, new, "CONFIG", "SET", "masterauth", old.password)
    await asyncio.to_thread(ask, new, "REPLICAOF", "127.0.0.1", old.port)
    async with asyncio.timeout(FOLLOW_SECONDS):
        while not await asyncio.to_thread(_follows, stage):  # noqa: ASYNC110 - Valkey tells nobody
            await asyncio.sleep(0.05)
    await asyncio.to_thread(ask, new, "REPLICAOF", "NO", "ONE")
    await asyncio.sleep(UNFOLLOWED_SECONDS)
    await asyncio.to_thread(old.kill)
    stage.valkey, stage.spare = new, old
    stage.counters_way.lead(new.port)
    await asyncio.to_thread(old.start)


async def cut_log(stage: Stage, _: Random) -> None:
    stage.log_way.cut()


async def cut_counters(stage: Stage, _: Random) -> None:
    stage.counters_way.cut()


async def hold_log(stage: Stage, chance: Random) -> None:
    stage.log_way.hold()
    await _away(chance)
    stage.log_way.release()


async def hold_counters(stage: Stage, chance: Random) -> None:
    stage.counters_way.hold()
    await _away(chance)
    stage.counters_way.release()


async def _cut_commit(stage: Stage, what: Lost) -> None:
    if stage.log_way.lose(what, of=JOURNAL) == 0:
        raise ServerError("No journal has a connection to PostgreSQL.")
    # Until those that commit have been cut off.
    await asyncio.sleep(COMMIT_SECONDS)


async def cut_before_commit(stage: Stage, _: Random) -> None:
    await _cut_commit(stage, "question")


async def cut_after_commit(stage: Stage, _: Random) -> None:
    await _cut_commit(stage, "answer")


@contextmanager
def filled(disk: Path, *, free: float) -> Iterator[None]:
    """Only this share of the disk is left free, until the end."""
    filler = disk / "filler"
    try:
        with filler.open("wb") as file:
            # Others write as well: what is free is looked at again for each piece.
            while (left := _too_much(disk, free)) > 0:
                size = file.seek(0, os.SEEK_END)
                os.posix_fallocate(file.fileno(), size, min(left, PIECE_BYTES))
        yield
    finally:
        filler.unlink()


def _too_much(disk: Path, free: float) -> int:
    """Bytes that are free beyond that share."""
    stat = os.statvfs(disk)
    return (stat.f_bavail - int(stat.f_blocks * free)) * stat.f_bsize


def _disk(stage: Stage) -> Path:
    if stage.disk is None:
        raise ServerError("PostgreSQL has no disk of its own.")
    return stage.disk


async def nearly_fill_disk(stage: Stage, chance: Random) -> None:
    """So that the gateway takes nothing more, and PostgreSQL can live."""
    with filled(_disk(stage), free=NEARLY_FULL):
        await asyncio.sleep(chance.uniform(*FULL_SECONDS))


async def fill_disk(stage: Stage, chance: Random) -> None:
    """At once, so that nobody can see it coming."""
    with filled(_disk(stage), free=0):
        await asyncio.sleep(chance.uniform(*FULL_SECONDS))
    if not stage.postgres.running:
        # It could not even recover: as the machine's init would, once there is room.
        await stage.start_postgres()


async def misset_clock(stage: Stage, chance: Random) -> None:
    """A second gateway, whose wall clock is an hour off, serves beside the first."""
    clock = clocks.under(chance.choice(("-1h", "+1h")))
    async with stage.another_gateway({"GATEWAY_WORKERS": "1", **clock}):
        await asyncio.sleep(chance.uniform(*MISSET_SECONDS))


FAULTS: Final = (
    Fault("kill -9 of a worker", kill_worker),
    Fault("kill -9 of the sealer", kill_sealer),
    Fault("kill -9 of the gateway's parent", kill_gateway),
    Fault("kill -9 of the postmaster", kill_postgres),
    Fault("kill -9 of a session of PostgreSQL", kill_session),
    Fault("immediate stop of PostgreSQL", stop_postgres),
    Fault("failover to a synchronous standby", fail_over_postgres),
    Fault("kill -9 of Valkey", kill_valkey),
    Fault("a worker stands still", freeze_worker),
    Fault("the gateway's parent stands still", freeze_parent),
    Fault("PostgreSQL stands still", freeze_postgres),
    Fault("a session of PostgreSQL stands still", freeze_session),
    Fault("Valkey stands still", freeze_valkey),
    Fault("FLUSHALL", empty_valkey),
    Fault("failover to a Valkey that lacks writes", fail_over),
    Fault("connections to PostgreSQL cut", cut_log),
    Fault("connections to Valkey cut", cut_counters),
    Fault("connections to PostgreSQL black-holed", hold_log),
    Fault("connections to Valkey black-holed", hold_counters),
    Fault("COMMIT cut off before it is sent", cut_before_commit),
    Fault("COMMIT cut off before it is answered", cut_after_commit),
    Fault("PostgreSQL's disk nearly full", nearly_fill_disk, "disk"),
    Fault("PostgreSQL's disk full at once", fill_disk, "disk"),
    Fault("a worker's clock an hour off", misset_clock, "clock"),
)

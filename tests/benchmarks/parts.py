"""What a gateway is made of, as processes: what each part has taken, and what it holds."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil
import redis

from gateway.embedded.gateways import GatewayProcess
from gateway.embedded.postgres import PostgresServer
from gateway.embedded.valkey import ValkeyServer

ENDED: Final = (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError)


class Running(Protocol):
    """A gateway over its servers, however it was stood up."""

    @property
    def gateway(self) -> GatewayProcess: ...
    @property
    def postgres(self) -> PostgresServer: ...
    @property
    def valkey(self) -> ValkeyServer: ...


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes and open files of some processes together.

    `rss` counts what they share once for each of them, `uss` only what nobody shares.
    """

    processes: int
    rss: int
    uss: int
    files: int


def parts(all_of: Running) -> dict[str, list[int]]:
    """The process ids of each; every worker is a part of its own."""
    sealer, valkey = all_of.gateway.sealer(), all_of.valkey.pid
    return {
        **{f"worker {pid}": [pid] for pid in sorted(all_of.gateway.workers())},
        "sealer": [] if sealer is None else [sealer],
        "PostgreSQL": list(family(all_of.postgres.pid)),
        "Valkey": [] if valkey is None else [valkey],
    }


def family(parent: int | None) -> Iterator[int]:
    """It, and all that came of it."""
    if parent is not None:
        yield parent
        for process in psutil.Process(parent).children(recursive=True):
            yield process.pid


def held(pids: Iterable[int]) -> Held:
    found = []
    for pid in pids:
        with suppress(*ENDED):
            process = psutil.Process(pid)
            memory = process.memory_full_info()
            found.append((1, memory.rss, memory.uss, process.num_fds()))
    return Held(*map(sum, zip(*found, strict=True))) if found else Held(0, 0, 0, 0)


def used_memory(valkey: ValkeyServer) -> int:
    """Bytes that Valkey itself says it uses."""
    with redis.Redis.from_url(valkey.url) as client:
        return int(client.info("memory")["used_memory"])


def cpu_seconds(pids: Iterable[int]) -> float:
    """What they have taken, to the microsecond; nothing of those that have ended."""
    taken = 0.0
    for pid in pids:
        with suppress(*ENDED):
            for task in Path(f"/proc/{pid}/task").iterdir():
                taken += int((task / "schedstat").read_text().split()[0]) / 1e9
    return taken


def cpu_of_family(parent: int | None) -> float:
    """Seconds of it and all that came of it: also of those that ended meanwhile."""
    if parent is None:
        return 0.0
    # Workers of a parallel query end with it.
    ended = psutil.Process(parent).cpu_times()
    taken = cpu_seconds(family(parent))
    return taken + ended.children_user + ended.children_system

"""How long calls take at shares of what the gateway can answer, and beside a crowd.

Open loop: calls are due at instants fixed before, so that who has to wait for a pause of the
server is counted with all of his waiting.
"""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from gateway.embedded.driving import Drive, Kind, drive
from gateway.embedded.load import Heard
from gateway.embedded.processes import ServerError

SHARES: Final = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9)
# More than wait at once, or who is due waits for a connection and not for the server.
CONNECTIONS: Final = 256
BESIDE: Final = 0.1
CROWD: Final = 1
_MILLI: Final = 1000


@dataclass(frozen=True, slots=True)
class Point:
    """Calls a second that were due, as a share of saturation too; milliseconds they took."""

    share: float
    offered: float
    answered: float
    p50: float
    p99: float
    p999: float


@dataclass(frozen=True, slots=True)
class Beside:
    """p99 in milliseconds of calls alone, and beside batches of a thousand without pause.

    `subjects` is how many a second those batches had answered meanwhile.
    """

    offered: float
    alone: float
    beside: float
    subjects: float

    @property
    def ratio(self) -> float:
        return self.beside / self.alone


def curve(
    driver: Executor, kind: Kind, saturation: float, seconds: float
) -> list[Point]:
    """Points at shares of `saturation`, in calls a second."""
    return [
        _point(share, _open(driver, kind, share * saturation, seconds))
        for share in SHARES
    ]


def beside(
    driver: Executor, kinds: tuple[Kind, Kind], saturation: float, seconds: float
) -> Beside:
    """Calls of the first kind, at a tenth of saturation; batches of the second meanwhile."""
    quiet, crowd = kinds
    offered = BESIDE * saturation
    alone = _open(driver, quiet, offered, seconds)
    crowding = drive(driver, crowd, Drive(CROWD, seconds + 1))
    disturbed = _open(driver, quiet, offered, seconds)
    heard = crowding.result()
    if set(heard.statuses) != {200}:
        raise ServerError("Batches of a thousand were not all answered.")
    return Beside(
        offered,
        alone.latencies.quantile(0.99) / _MILLI,
        disturbed.latencies.quantile(0.99) / _MILLI,
        heard.rate * 1000,
    )


def _open(driver: Executor, kind: Kind, rate: float, seconds: float) -> Heard:
    heard = drive(driver, kind, Drive(CONNECTIONS, seconds, rate)).result()
    if heard.lost or set(heard.statuses) != {200}:
        raise ServerError("Calls at a rate below saturation were not all answered.")
    return heard


def _point(share: float, heard: Heard) -> Point:
    p50, p99, p999 = (
        heard.latencies.quantile(one) / _MILLI for one in (0.5, 0.99, 0.999)
    )
    total = heard.latencies.total
    return Point(share, total / heard.seconds, heard.rate, p50, p99, p999)

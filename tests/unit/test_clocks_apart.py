"""How far the clocks of the servers and of this host are apart."""

import pytest
from prometheus_client import Gauge

from gateway import telemetry
from gateway.clock import SECOND
from gateway.edge.clocks import QUICK, Clocks, Here

HOUR = 3600 * SECOND
WALL = 1_800_000_000 * SECOND


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    gauge = Gauge("apart", "Apart.", ["between"], registry=None)
    monkeypatch.setattr(telemetry, "CLOCKS_APART", gauge)
    return gauge


def at(monotonic: int) -> Here:
    return Here(monotonic, WALL + monotonic)


def apart(gauge: Gauge) -> dict[str, float]:
    return {
        sample.labels["between"]: sample.value
        for family in gauge.collect()
        for sample in family.samples
    }


def test_clocks_that_agree_are_not_apart_whenever_they_are_heard(gauge: Gauge) -> None:
    clocks = Clocks()
    clocks.told("postgres", WALL + 2000, at(1000), at(3000))
    assert apart(gauge) == {"host-postgres": 0}
    clocks.told("redis", WALL + 9 * SECOND, at(9 * SECOND), at(9 * SECOND))
    assert apart(gauge) == {"host-postgres": 0, "redis-postgres": 0}


def test_a_clock_that_is_ahead_or_behind_is_apart_from_the_others(gauge: Gauge) -> None:
    clocks = Clocks()
    clocks.told("postgres", WALL, at(0), at(0))
    clocks.told("redis", WALL + HOUR, at(0), at(0))
    assert apart(gauge) == {"host-postgres": 0, "redis-postgres": 3600}
    clocks.told("redis", WALL - HOUR, at(0), at(0))
    assert apart(gauge)["redis-postgres"] == 3600
    # This host's own clock is set: the servers still agree as they did.
    clocks.told("postgres", WALL, Here(0, WALL + 2 * HOUR), Here(0, WALL + 2 * HOUR))
    assert apart(gauge) == {"host-postgres": 7200, "redis-postgres": 3600}


def test_a_server_that_is_slow_to_answer_tells_nothing_of_its_clock(
    gauge: Gauge,
) -> None:
    clocks = Clocks()
    clocks.told("postgres", WALL, at(0), at(0))
    clocks.told("postgres", WALL + HOUR, at(0), at(QUICK + 1))
    assert apart(gauge) == {"host-postgres": 0}

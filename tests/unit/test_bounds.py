"""What everybody may ask is bounded for each address."""

import time

import pytest

from gateway.edge.log import Bounds
from gateway.problems import QuotaExceeded


class Machine:
    """A monotonic clock that stands still until it is told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def spent(bounds: Bounds, address: str, calls: int) -> int:
    """How many of so many calls at once are let through."""
    through = 0
    for _ in range(calls):
        try:
            bounds.spend(address)
        except QuotaExceeded:
            continue
        through += 1
    return through


def test_an_address_has_so_many_calls_at_once_and_so_many_more_a_second(
    machine: Machine,
) -> None:
    bounds = Bounds(a_second=64, at_once=256)
    assert spent(bounds, "192.0.2.1", 300) == 256
    machine.now += 1
    assert spent(bounds, "192.0.2.1", 300) == 64
    machine.now += 3_600
    assert spent(bounds, "192.0.2.1", 300) == 256


@pytest.mark.usefixtures("machine")
def test_one_address_takes_nothing_from_another() -> None:
    bounds = Bounds(a_second=1, at_once=2)
    assert [spent(bounds, address, 5) for address in ("192.0.2.1", "192.0.2.2")] == [
        *(2, 2)
    ]


def test_who_has_none_left_is_told_how_long_to_wait(machine: Machine) -> None:
    bounds = Bounds(a_second=0.5, at_once=1)
    bounds.spend("192.0.2.1")
    with pytest.raises(QuotaExceeded) as refused:
        bounds.spend("192.0.2.1")
    assert refused.value.retry_after == 2
    machine.now += 2
    bounds.spend("192.0.2.1")

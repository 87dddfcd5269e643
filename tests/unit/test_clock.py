"""Instants: exact in both directions, and by a server's clock alone."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import (
    SECOND,
    ServerClock,
    from_datetime,
    to_datetime,
    to_text,
)

AT = 1_795_525_200_123_456
YEAR_9999 = 253_402_300_799 * SECOND


class Machine:
    """This machine's two clocks; the wall one is never to be asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.monotonic_ns = 5_000_000_000_000
        patch.setattr(time, "monotonic_ns", lambda: self.monotonic_ns)
        patch.setattr(time, "time", lambda: pytest.fail("asked the wall clock"))
        patch.setattr(time, "time_ns", lambda: pytest.fail("asked the wall clock"))

    def passes(self, seconds: float) -> None:
        self.monotonic_ns += int(seconds * 1e9)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.usefixtures("machine")
def test_before_any_server_told_the_time_there_is_none() -> None:
    clock = ServerClock()
    assert not clock.known
    with pytest.raises(RuntimeError):
        clock.now()


def test_a_servers_time_is_carried_on_by_the_monotonic_clock(machine: Machine) -> None:
    clock = ServerClock()
    clock.observe(AT)
    assert clock.known
    assert clock.now() == AT
    machine.passes(1.5)
    assert clock.now() == AT + 1_500_000


def test_the_last_that_redis_told_counts(machine: Machine) -> None:
    clock = ServerClock()
    clock.observe(AT)
    machine.passes(1)
    clock.observe(AT - 3600 * SECOND)
    assert clock.now() == AT - 3600 * SECOND


def test_postgres_tells_the_time_where_redis_never_did(machine: Machine) -> None:
    clock = ServerClock()
    clock.observe_postgres(AT)
    machine.passes(2)
    assert clock.now() == AT + 2 * SECOND


def test_postgres_is_heard_only_where_redis_was_silent_for_five_seconds(
    machine: Machine,
) -> None:
    clock = ServerClock()
    clock.observe(AT)
    machine.passes(5)
    clock.observe_postgres(AT + 3600 * SECOND)
    assert clock.now() == AT + 5 * SECOND
    machine.passes(0.001)
    clock.observe_postgres(AT + 3600 * SECOND)
    assert clock.now() == AT + 3600 * SECOND


def test_redis_is_heard_again_at_once(machine: Machine) -> None:
    clock = ServerClock()
    clock.observe_postgres(AT)
    machine.passes(1)
    clock.observe(AT + 60 * SECOND)
    assert clock.now() == AT + 60 * SECOND


def test_an_instant_is_written_in_utc_with_six_decimals() -> None:
    assert to_text(AT) == "2026-11-24T13:00:00.123456Z"
    assert to_text(0) == "1970-01-01T00:00:00.000000Z"
    early = from_datetime(datetime(416, 12, 23, tzinfo=UTC))
    assert to_text(early) == "0416-12-23T00:00:00.000000Z"


@given(st.integers(0, YEAR_9999))
def test_no_microsecond_is_lost_on_the_way_to_a_datetime_and_back(instant: int) -> None:
    assert from_datetime(to_datetime(instant)) == instant


@given(st.integers(0, YEAR_9999 - 86_400 * SECOND), st.integers(-839, 839))
def test_an_instant_is_the_same_in_every_offset(instant: int, minutes: int) -> None:
    offset = timezone(timedelta(minutes=minutes))
    assert from_datetime(to_datetime(instant).astimezone(offset)) == instant


@given(st.integers(0, YEAR_9999))
def test_the_text_of_an_instant_is_read_back_as_the_same(instant: int) -> None:
    read = datetime.fromisoformat(to_text(instant))
    assert (from_datetime(read), read.tzinfo) == (instant, UTC)

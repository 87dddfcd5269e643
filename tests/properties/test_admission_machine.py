"""Admission over real servers, with the log, two workers and whatever may befall them.

What holds after each step, for each institution: never more in the log than its limit
allowed; nobody refused while a unit was free, save units whose call nobody can account
for (a worker killed, a give-back that found no counters); no call without a decision,
save while a server is away. Day windows do not turn here: test_limit_state_machine.py
has the script beside the model for those, under a clock of its own.
"""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from gateway import redis
from gateway.embedded.valkey import ValkeyServer
from gateway.quota import counters, epochs, rebuild
from gateway.quota.limit import interval
from gateway.redis import open_server
from gateway.vocabulary import Limits
from tests.conftest import Database
from tests.properties.admitting import CHARGED, GIVEN_BACK, LOST, UNAVAILABLE, World

pytestmark = pytest.mark.integration

RUNS: Final = 2_000
RUNS_WITH_FAULTS: Final = 100
SETTLED_SECONDS: Final = 30.0
LAST_COMMIT_SECONDS: Final = 0.2
MONTH: Final = 10_000
WORKERS: Final = 2
_ids = itertools.count(1)

workers = st.integers(0, WORKERS - 1)
days = st.sampled_from((1, 5, 10, 30))
rates = st.sampled_from(((1_000, 1_000), (1_000, 1_000), (5, 5)))
amounts = st.integers(1, 12)


class Admission(RuleBasedStateMachine):
    """One institution of its own, so that runs need not clean up."""

    world: World
    faults = False
    befell: Counter[str]

    @initialize(day=days, rate=rates)
    def appears(self, day: int, rate: tuple[int, int]) -> None:
        self.institution = next(_ids)
        self.limits = Limits(*rate, day, MONTH)
        # What may be spent without an entry, at most.
        self.unaccounted = 0

    def calls(self, amount: int, first: int, *, answered: bool) -> "Future[list[Any]]":
        return self.world.begin_calls(
            [
                ((first + n) % WORKERS, self.institution, self.limits, answered)
                for n in range(amount)
            ]
        )

    def judge(
        self, told: list[Any], before: int, *, disturbed: bool = False
    ) -> list[Any]:
        instants = self.world.entered(self.institution)
        after = len(instants)
        charged = told.count(CHARGED)
        lost = told.count(LOST) + (told.count(UNAVAILABLE) if disturbed else 0)
        assert before + charged <= after <= before + charged + lost, (told, after)
        self.unaccounted += lost - (after - before - charged)
        assert after <= max(before, self.limits.day)
        refused = [one for one in told if isinstance(one, tuple)]
        if any("day" in policies for policies in refused):
            given_back = told.count(GIVEN_BACK)
            assert after + self.unaccounted + given_back >= self.limits.day, told
        if any("rate" in policies for policies in refused):
            assert self.limits.burst < 1_000 or self.unaccounted
        if not disturbed:
            assert UNAVAILABLE not in told
        self.check_rate(instants)
        return told

    def check_rate(self, instants: list[int]) -> None:
        """The virtual scheduling of ITU-T I.371 over what the log has."""
        step = interval(self.limits.rate)
        tat = 0
        for at in instants:
            tat = max(tat, at) + step
            assert tat - at <= self.limits.burst * step

    def count(self) -> int:
        return len(self.world.entered(self.institution))

    @rule(amount=amounts, first=workers)
    def asks(self, amount: int, first: int) -> None:
        before = self.count()
        self.judge(self.calls(amount, first, answered=True).result(60), before)

    @rule(amount=amounts, first=workers)
    def asks_a_registry_that_fails(self, amount: int, first: int) -> None:
        before = self.count()
        self.judge(self.calls(amount, first, answered=False).result(60), before)

    @rule(day=days)
    def limit_is_changed(self, day: int) -> None:
        self.limits = self.limits._replace(day=day)

    @rule(first=workers)
    def stands_where_the_log_says(self, first: int) -> None:
        limiter = self.world.workers[first].limiter
        decision = self.world.run(limiter.peek(self.institution, self.limits))
        used, entered = decision.state.day_used, self.count()
        assert entered <= used <= entered + self.unaccounted

    @rule(amount=amounts, first=workers)
    def redis_is_emptied(self, amount: int, first: int) -> None:
        self.befell["emptied"] += 1
        before = self.count()
        asked = self.calls(amount, first, answered=True)
        self.world.run(_flushall(self.world.valkey))
        self.judge(asked.result(60), before)

    @precondition(lambda self: self.faults)
    @rule(amount=amounts, first=workers, pause=st.floats(0, 0.01))
    def a_worker_is_killed(self, amount: int, first: int, pause: float) -> None:
        self.befell["killed"] += 1
        before = self.count()
        asked = self.calls(amount, first, answered=True)
        time.sleep(pause)
        self.world.replace(first)
        # PostgreSQL may be about to commit what its last flush sent.
        time.sleep(LAST_COMMIT_SECONDS)
        self.judge(asked.result(60), before, disturbed=True)
        self.settle()

    @precondition(lambda self: self.faults)
    @rule(
        amount=amounts,
        first=workers,
        how=st.sampled_from(("restart", "stop", "hang")),
        away=st.sampled_from((0.1, 1.0, 4.0)),
    )
    def redis_is_away(self, amount: int, first: int, how: str, away: float) -> None:
        self.world.redis_counts()
        before = self.count()
        asked = [self.calls(amount, first, answered=True)]
        valkey = self.world.valkey
        self.befell[how] += 1
        assert valkey.pid is not None
        process = psutil.Process(valkey.pid)
        if how == "hang":
            process.suspend()
        else:
            valkey.kill()
        asked.append(self.calls(amount, first, answered=True))
        time.sleep(0 if how == "restart" else away)
        asked.append(self.calls(amount, first, answered=False))
        if how == "hang":
            process.resume()
        else:
            valkey.start()
        asked.append(self.calls(amount, first, answered=True))
        told = [one for some in asked for one in some.result(60)]
        self.judge(told, before, disturbed=True)
        self.settle()

    def settle(self) -> None:
        """Until every worker decides again."""
        deadline = time.monotonic() + SETTLED_SECONDS
        for worker in range(WORKERS):
            while True:
                before = self.count()
                told = self.world.begin_calls(
                    [(worker, self.institution, self.limits, True)]
                ).result(60)
                self.judge(told, before, disturbed=True)
                if UNAVAILABLE not in told:
                    break
                assert time.monotonic() < deadline, "it does not become well again"
                time.sleep(0.1)

    @override
    def teardown(self) -> None:
        if hasattr(self, "institution"):
            self.stands_where_the_log_says(0)


async def _flushall(valkey: ValkeyServer) -> None:
    async with open_server(valkey.url) as redis:
        await redis.flushall()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing fails, a slow machine is no fault: everyone waits for everyone.

    And nothing is on its way into the log for long.
    """
    for where, what in (
        (counters, "PATIENCE"),
        (counters, "PROBE_SECONDS"),
        (epochs, "ANSWER_SECONDS"),
        (epochs, "KNOWN_SECONDS"),
        (rebuild, "PATIENCE"),
    ):
        monkeypatch.setattr(where, what, SETTLED_SECONDS)
    for what in ("socket_timeout", "socket_connect_timeout"):
        monkeypatch.setitem(redis._DEADLINES, what, SETTLED_SECONDS)
    monkeypatch.setattr(rebuild, "COMMIT_SECONDS", 0.05)


@pytest.fixture
def world(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    valkey = ValkeyServer(tmp_path_factory.mktemp("machine") / "valkey")
    valkey.start()
    world = World(database, valkey, WORKERS)
    yield world
    world.end()
    valkey.stop()


def run(world: World, *, runs: int, steps: int, faults: bool) -> Counter[str]:
    """What befell how often."""

    class Here(Admission):
        pass

    Here.world, Here.faults, Here.befell = world, faults, Counter()
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
            database=None,
        ),
    )
    return Here.befell


@pytest.mark.usefixtures("patience")
def test_without_faults_limits_are_exact(world: World) -> None:
    run(world, runs=60, steps=10, faults=False)


def test_through_faults_limits_are_never_exceeded_and_nobody_is_refused(
    world: World,
) -> None:
    assert run(world, runs=3, steps=5, faults=True)


@pytest.mark.slow
@pytest.mark.usefixtures("patience")
def test_without_faults_limits_are_exact_two_thousand_times(world: World) -> None:
    run(world, runs=RUNS, steps=10, faults=False)


@pytest.mark.slow
def test_through_faults_limits_hold_a_hundred_times(world: World) -> None:
    befell = run(world, runs=RUNS_WITH_FAULTS, steps=8, faults=True)
    assert befell.keys() == {"emptied", "killed", "restart", "stop", "hang"}
    assert min(befell.values()) >= RUNS_WITH_FAULTS // 10, befell

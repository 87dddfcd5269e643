"""Limits over a real Valkey Cluster hold, through the loss of a master and of its writes."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Final

import psutil
import pytest

from gateway.audit.charges import Charges
from gateway.doctor import counters
from gateway.doctor.finding import Kind
from gateway.postgres import pool
from gateway.quota.reconciliation import reconcile
from gateway.quota.script import state_key
from gateway.redis import open_redis
from tests.acceptance import questions
from tests.acceptance.callers import Caller
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import Service, running
from tests.faults.breaking import answer_when
from tests.faults.load import under_load
from tests.integration.clusters import ValkeyCluster, valkey_cluster

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.slow,
    pytest.mark.usefixtures("whole"),
]

LIMITS: Final = {"rate": 1_000, "burst": 1_000, "day": 100, "month": 1_000}
SETTLED_SECONDS: Final = 1.0
# The nodes agree that a master is gone, a replica takes over, PostgreSQL counts meanwhile,
# and for 3 s at least.
BACK_SECONDS: Final = 15.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    with valkey_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, cluster: ValkeyCluster
) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    async with running(
        folder, residents=1000, newcomers=10, redis_url=cluster.url
    ) as service:
        yield service


async def spend(service: Service, caller: Caller, calls: int) -> Counter[int]:
    nik = nik_of(service.residents[4])
    question = questions.verify(caller, nik, {"birth_date": "1801-01-01"})
    answers = await asyncio.gather(*(service.put(question) for _ in range(calls)))
    return Counter(answer.status for answer in answers)


async def differences(service: Service, cluster: ValkeyCluster) -> list[object]:
    """What `gateway quota reconcile` says."""
    redis = open_redis(cluster.url)
    dsn = service.environment["GATEWAY_AUDITOR_DSN"]
    try:
        async with pool(dsn, name="test", size=1, statement_seconds=9) as auditor:
            return list((await reconcile(redis, auditor, Charges(auditor)))[1])
    finally:
        await redis.aclose()


async def test_the_doctor_examines_every_node(cluster: ValkeyCluster) -> None:
    assert await counters.examine(cluster.url, patience=15) == []
    for node in (cluster.nodes[0], cluster.nodes[-1]):
        node.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        (found,) = await counters.examine(cluster.url, patience=15)
        assert (found.kind, found.check) == (Kind.WARNING, "redis-evicts")
        node.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_limits_of_many_hold_exactly_over_workers_and_masters(
    service: Service, cluster: ValkeyCluster
) -> None:
    callers = await service.make_callers(*[{"limits": LIMITS}] * 6)
    told = await asyncio.gather(*(spend(service, one, 120) for one in callers))
    assert told == [{200: 100, 429: 20}] * 6
    assert not await differences(service, cluster)
    held = []
    for node in cluster.nodes:
        keys = node.ask("KEYS", "*") if node.is_master() else []
        held.append(len(keys))
        # -1 is a key that would stay for ever.
        assert all(node.ask("TTL", key) > 0 for key in keys), keys
    assert sum(count > 0 for count in held) == len(cluster.nodes) // 2


async def test_a_failover_that_loses_writes_admits_nobody_beyond_and_refuses_nobody_below(
    service: Service, cluster: ValkeyCluster
) -> None:
    caller = await service.make_caller(limits=LIMITS)
    master, replica = cluster.pair_of(state_key(caller.institution))
    bystander = service.newcomer()
    question = questions.verify(
        bystander, nik_of(service.residents[3]), {"birth_date": "1801-01-01"}
    )

    def ask() -> Question:
        return question

    assert await spend(service, caller, 30) == {200: 30}
    assert replica.pid is not None
    standing_still = psutil.Process(replica.pid)
    standing_still.suspend()
    # These the replica never hears of.
    assert await spend(service, caller, 20) == {200: 20}
    async with under_load(service, ask, callers=4) as load:
        await load.first_success(after=0, within=5)
        await asyncio.to_thread(master.kill)
        standing_still.resume()
        gone = time.monotonic()
        await asyncio.to_thread(cluster.until, replica.is_master)
        await answer_when(
            lambda: service.put(questions.account(caller)),
            lambda answer: answer.status == 200,
            since=gone,
            within=BACK_SECONDS,
        )
        await asyncio.sleep(SETTLED_SECONDS)
        told = await spend(service, caller, 80)
        await load.first_success(after=time.monotonic(), within=BACK_SECONDS)
    # Never 429 or 500, which would be for a fault of ours.
    assert {one.answer.status for one in load.answered} <= {200, 503}
    assert told == {200: 50, 429: 30}
    await asyncio.to_thread(master.start)
    await asyncio.sleep(BACK_SECONDS / 2)
    assert not await differences(service, cluster)
    assert await spend(service, caller, 5) == {429: 5}

"""Limits in shadow refuse what they would refuse if they were the real ones."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import SECOND
from gateway.embedded.valkey import ValkeyServer
from gateway.quota.limit import DAY, MINUTE, Decision
from gateway.quota.script import (
    GENERATION_KEY,
    Admit,
    Answer,
    Ask,
    GiveBack,
    decode,
    encode,
    state_key,
)
from gateway.vocabulary import Limits, Shadow
from tests.properties.test_limit_state_machine import (
    EARLIEST,
    PRETENDING_SCRIPT,
    TAG,
    evaluate,
    limits,
)

pytestmark = pytest.mark.integration

GENERATION = f"{TAG}|1"
WITH_A_SHADOW, WITHOUT_ONE, PLAIN = 1, 2, 3
SINCE = 1_764_060_000_123_456
# Never refused by the limits themselves, so that what is given back is the same.
AMPLE = Limits(1_000_000, 10_000_000, 10**12, 10**12)


class Call(NamedTuple):
    """After a pause; `fails` if the registry does, so that it is given back."""

    pause: int
    cost: int
    fails: bool


calls = st.lists(
    st.builds(
        Call,
        st.sampled_from((0, 0, 1, 20_000, SECOND, MINUTE, DAY)),
        st.sampled_from((0, 1, 1, 1, 2, 5)),
        st.sampled_from((False, False, False, True)),
    ),
    max_size=40,
)


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, db=2) as client:
        yield client


def begin(client: redis.Redis) -> None:
    client.flushdb()
    client.set(GENERATION_KEY, GENERATION)
    for institution in (WITH_A_SHADOW, WITHOUT_ONE, PLAIN):
        client.hset(state_key(institution), "generation", GENERATION)


def send(client: redis.Redis, now: int, flush: list[Ask]) -> list[Answer]:
    client.set("pretended now", now)
    return decode(
        flush,
        evaluate(client, PRETENDING_SCRIPT, *encode(flush, GENERATION_KEY, TAG)),
    )


def decided(answer: Answer) -> Decision:
    assert isinstance(answer, Decision)
    return answer


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls, limits)
def test_a_shadow_refuses_what_a_plain_limiter_with_its_limits_refuses(
    client: redis.Redis, made: list[Call], tried: Limits
) -> None:
    begin(client)
    now, shadow = EARLIEST, Shadow(tried, SINCE)
    would, did = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for pause, cost, fails in made:
        now += pause
        flush: list[Ask] = [
            Admit(WITH_A_SHADOW, 7, AMPLE, cost, cost, shadow),
            Admit(PLAIN, 7, tried, cost, cost),
        ]
        one, plain = map(decided, send(client, now, flush))
        assert one.admitted
        assert one.shadow is not None
        assert one.shadow.state == plain.state
        would[one.shadow.violated] += 1
        did[plain.violated] += 1
        if fails:
            flush = [GiveBack(WITH_A_SHADOW, one)]
            flush += [GiveBack(PLAIN, plain)] if plain.admitted else []
            send(client, now, flush)
    assert would == did


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls, limits, limits)
def test_the_limits_decide_and_count_as_they_would_without_a_shadow(
    client: redis.Redis, made: list[Call], real: Limits, tried: Limits
) -> None:
    begin(client)
    now, shadow = EARLIEST, Shadow(tried, SINCE)
    for pause, cost, fails in made:
        now += pause
        flush: list[Ask] = [
            Admit(WITH_A_SHADOW, 7, real, cost, cost, shadow),
            Admit(WITHOUT_ONE, 7, real, cost, cost),
        ]
        one, other = map(decided, send(client, now, flush))
        assert one._replace(shadow=None) == other
        if fails and other.admitted:
            flush = [GiveBack(WITH_A_SHADOW, one), GiveBack(WITHOUT_ONE, other)]
            first, second = send(client, now, flush)
            assert first == second
    kept = [client.hgetall(state_key(one)) for one in (WITH_A_SHADOW, WITHOUT_ONE)]
    assert kept[0] == kept[1]

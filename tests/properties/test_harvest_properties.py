"""The script inside a real Valkey gathers the evidence that the pure model does."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import SECOND
from gateway.embedded.valkey import ValkeyServer
from gateway.quota.harvest import NOTHING, Day, Evidence, Seen, Sight
from gateway.quota.limit import DAY, day_end
from gateway.quota.script import (
    GENERATION_KEY,
    Admit,
    Ask,
    Watch,
    decode,
    encode,
    state_key,
    watch_keys,
)
from gateway.vocabulary import Limits, Shadow
from tests.properties.test_limit_state_machine import (
    EARLIEST,
    PRETENDING_SCRIPT,
    TAG,
    evaluate,
)

pytestmark = pytest.mark.integration

GENERATION = f"{TAG}|1"
INSTITUTIONS = (1, 23)
AMPLE, NONE_LEFT = Limits(1_000_000, 10_000_000, 10**12, 10**12), Limits(1, 1, 1, 1)
IN_SHADOW = Shadow(Limits(1, 1, 1, 1), 1_764_060_000_123_456)
MOST_CLAIMS = 2

# Few of each, so that they come again; those of the prefixes share a slot or a tag.
subjects = st.sampled_from([bytes([n]) * 8 for n in range(12)])
prefixes = st.sampled_from(
    [bytes(8), b"\1\2\3\4same", b"\1\2\5\6slot", b"\x09\2\3\4wrap", b"\7\7\3\4tag."]
)
claims = st.sampled_from((b"", b"one.", b"two.", b"too."))
sights = st.lists(st.builds(Sight, subjects, prefixes, claims, st.booleans()))
seen = st.builds(
    Seen,
    st.integers(0, 3),
    st.lists(prefixes, max_size=9).map(tuple),
    st.integers(0, 3),
)


class Question(NamedTuple):
    """One ask; `released` if a person lets the institution go before it."""

    institution: int
    admitted: bool
    released: bool
    shadowed: bool
    sights: list[Sight]
    seen: Seen


PLAIN = Question(
    1,
    admitted=True,
    released=False,
    shadowed=False,
    sights=[Sight(b"subject.", b"\1\2prefix", b"four")],
    seen=NOTHING,
)
questions = st.builds(
    Question,
    st.sampled_from(INSTITUTIONS),
    st.sampled_from((True, True, True, False)),
    st.sampled_from((True, *[False] * 9)),
    st.booleans(),
    sights,
    seen,
)
flushes = st.lists(
    st.tuples(
        st.sampled_from((0, 0, 0, SECOND, DAY)),
        st.lists(questions, min_size=1, max_size=5),
    ),
    max_size=20,
)


class Course:
    """Asks, and what the model makes of them."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.now = EARLIEST
        self.days = {one: Day() for one in INSTITUTIONS}
        self.ends = dict.fromkeys(INSTITUTIONS, 0)
        self.since = dict.fromkeys(INSTITUTIONS, 0)
        client.flushdb()
        client.set(GENERATION_KEY, GENERATION)
        for one in INSTITUTIONS:
            client.hset(state_key(one), "generation", GENERATION)

    def flush(self, pause: int, asked: list[Question]) -> None:
        self.now += pause
        asks: list[Ask] = []
        expected: list[Evidence] = []
        for question in asked:
            asks.append(self.ask(question))
            expected.append(self.evidence(question))
        assert self.send(asks) == expected

    def ask(self, question: Question) -> Admit:
        one = question.institution
        self.since[one] += question.released
        limits = AMPLE if question.admitted else NONE_LEFT
        watch = Watch(self.since[one], MOST_CLAIMS, question.seen, question.sights)
        shadow = IN_SHADOW if question.shadowed else None
        # Two units are more than the whole of the limits that admit nothing.
        return Admit(one, 7, limits, 2, 2, shadow, watch)

    def evidence(self, question: Question) -> Evidence:
        one = question.institution
        if self.now >= self.ends[one] or question.released:
            self.days[one], self.ends[one] = self.days[one].next(), day_end(self.now)
        sights = question.sights if question.admitted else []
        return self.days[one].watch(sights, question.seen, most_claims=MOST_CLAIMS)

    def send(self, asks: list[Ask]) -> list[Any]:
        self.client.set("pretended now", self.now)
        asked = encode(asks, GENERATION_KEY, TAG)
        reply = evaluate(self.client, PRETENDING_SCRIPT, *asked)
        return [getattr(answer, "evidence", None) for answer in decode(asks, reply)]


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, db=1) as client:
        yield client
        client.flushdb()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
@given(flushes=flushes)
def test_lua_gathers_the_evidence_of_the_model(
    client: redis.Redis, flushes: list[tuple[int, list[Question]]]
) -> None:
    course = Course(client)
    for pause, asked in flushes:
        course.flush(pause, asked)


def test_evidence_expires_and_names_nobody(client: redis.Redis) -> None:
    course = Course(client)
    question = PLAIN._replace(seen=Seen(0, (b"\1\2prefix",)))
    course.flush(0, [question])
    kept: list[bytes] = list(client.scan_iter(match="{i:1}:*"))
    assert sorted(kept) == sorted(key.encode() for key in watch_keys(1))
    lasts = {key: client.pexpiretime(key.decode()) * 1_000 for key in kept}
    assert min(lasts.values()) == day_end(course.now)
    assert max(lasts.values()) == day_end(course.now) + 35 * DAY


def test_a_worker_that_has_not_heard_of_a_release_brings_nothing_back(
    client: redis.Redis,
) -> None:
    course = Course(client)
    course.flush(0, [PLAIN._replace(released=True)])
    stale = Watch(0, MOST_CLAIMS, Seen(0, (b"\1\2prefix",)), PLAIN.sights)
    asks: list[Ask] = [Admit(1, 7, AMPLE, 1, 1, None, stale)]
    assert course.send(asks) == [Evidence(0, 0, 0, 0, 0, 0, 0, 0)]
    course.flush(0, [PLAIN])


def test_without_counters_nothing_is_told_and_nothing_kept(client: redis.Redis) -> None:
    course = Course(client)
    client.delete(state_key(1))
    watch = Watch(0, MOST_CLAIMS, NOTHING, [Sight(b"subject.", b"\1\2prefix")])
    asks: list[Ask] = [
        Admit(1, 7, AMPLE, 1, 1, IN_SHADOW, watch),
        Admit(23, 7, AMPLE, 1, 1, None, watch),
    ]
    unknown, known = course.send(asks)
    assert unknown is None
    assert known == Evidence(0, 0, 0, 1, 0, 1, 0, 0)
    assert not client.exists(*watch_keys(1))

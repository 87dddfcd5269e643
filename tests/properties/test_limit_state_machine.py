"""The script inside a real Valkey decides as the pure model does, whatever happens."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from gateway.clock import SECOND
from gateway.embedded.valkey import ValkeyServer
from gateway.quota import limit
from gateway.quota.limit import (
    DAY,
    IDLE,
    MINUTE,
    UNREFUSED,
    Decision,
    Refusals,
    State,
)
from gateway.quota.putting import ADMIT, LOAD
from gateway.quota.script import (
    GENERATION_KEY,
    Admit,
    Answer,
    Ask,
    GiveBack,
    Refuse,
    Unknown,
    decode,
    encode,
    of_shadow,
    refused_key,
    shadow_key,
    state_key,
)
from gateway.vocabulary import Limits, Shadow

pytestmark = pytest.mark.integration

# The script as it is, but for the time: TIME answers what the test keeps in a key. Only
# this text does so; nothing in the script that is shipped can be told the time.
PRETENDED_TIME = """
local server = redis
local redis = { call = function(command, ...)
  if command ~= 'TIME' then
    return server.call(command, ...)
  end
  local now = server.call('GET', 'pretended now')
  return { string.sub(now, 1, -7), string.sub(now, -6) }
end }
"""
FIRST_LINE, REST = ADMIT.text.split("\n", 1)
PRETENDING_SCRIPT = FIRST_LINE + PRETENDED_TIME + REST

# Expiry follows Valkey's real time, so the pretended one lies far ahead of it. A leap
# year, and a century that is none, are within reach.
EARLIEST, LATEST = 3_976_300_000 * SECOND, 4_109_000_000 * SECOND
INSTITUTIONS = (1, 23)
KEYS = (7, 8)

institutions, keys = st.sampled_from(INSTITUTIONS), st.sampled_from(KEYS)
limits = st.builds(
    Limits,
    st.sampled_from((1, 3, 7, 50, 1_000, 1_000_000)),
    st.sampled_from((1, 5, 100, 10_000_000)),
    st.sampled_from((1, 10, 20, 300, 10**12)),
    st.sampled_from((1, 10, 25, 400, 10**12)),
)
GIVES_BACK: st.SearchStrategy[bool] = st.booleans()
costs = st.sampled_from((0, 1, 1, 1, 2, 5, 10, 1_000, 4_000_000))
EDGES: tuple[Callable[[int], int], ...] = (
    limit.minute_end,
    limit.day_end,
    limit.month_end,
)


# What a worker knows of its server and the epoch; the generations of it.
TAG = "server:0"


def evaluate(client: redis.Redis, script: str, *arguments: Any) -> Any:
    call: Callable[..., Any] = client.execute_command
    return call("EVAL", script, *arguments)


class Charge(NamedTuple):
    institution: int
    decision: Decision


class Lua(RuleBasedStateMachine):
    """Every flush is sent to Valkey and told, ask by ask, by the model."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client = client
        self.client.flushdb()
        self.now = EARLIEST
        self.limits = dict.fromkeys(INSTITUTIONS, Limits(50, 100, 10, 400))
        self.states = dict.fromkeys(INSTITUTIONS, IDLE)
        self.refusals: dict[tuple[int, int], Refusals] = {}
        self.charges: list[Charge] = []
        # What is in shadow, and the counters of the last shadow that was asked.
        self.shadows: dict[int, Shadow | None] = dict.fromkeys(INSTITUTIONS)
        self.beside: dict[int, tuple[str, State]] = {}
        self.generation = ""
        self.losses = 0
        # What each window of an institution was charged, by the instant it ends.
        self.days, self.months = Counter[tuple[int, int]](), Counter[tuple[int, int]]()

    @initialize(now=st.integers(EARLIEST, LATEST))
    def begin(self, now: int) -> None:
        self.now = now
        self.begin_generation()
        for institution in INSTITUTIONS:
            # Counters of nothing: in the product they are loaded with their windows.
            self.client.hset(state_key(institution), "generation", self.generation)

    def begin_generation(self) -> None:
        self.losses += 1
        self.generation = f"{TAG}|{self.losses}"
        self.client.set(GENERATION_KEY, self.generation)

    @rule(loss=st.sampled_from(("flush", "failover")), institution=institutions)
    def counters_are_lost_and_loaded(self, loss: str, institution: int) -> None:
        """As the model, which stands for the log, has them."""
        if loss == "flush":
            self.client.flushdb()
            self.refusals.clear()
            self.beside.clear()
        earlier = self.generation
        self.begin_generation()
        asked: list[Ask] = [Admit(institution, 7, self.limits[institution], 0, 0)]
        assert self.send(asked) == [Unknown(self.generation)]
        # A worker that stood still since the generation before loads nothing any more.
        assert self.load(earlier) == 0
        self.states = {one: limit.turned(s, self.now) for one, s in self.states.items()}
        assert self.load(self.generation) == len(INSTITUTIONS)
        assert self.load(self.generation) == 0

    def load(self, generation: str) -> int:
        numbers = [number for state in self.states.values() for number in state]
        packed = msgspec.msgpack.encode(numbers)
        keys = [GENERATION_KEY, *map(state_key, self.states)]
        loaded: int = evaluate(
            self.client, LOAD.text, len(keys), *keys, generation, packed
        )
        return loaded

    @rule(span=st.sampled_from((1, 333_334, SECOND, MINUTE, DAY, 31 * DAY)))
    def time_passes(self, span: int) -> None:
        self.now += span

    @rule(edge=st.sampled_from(EDGES), off=st.integers(-1, 1))
    def an_edge_comes(self, edge: Callable[[int], int], off: int) -> None:
        self.now = edge(self.now) + off

    @rule(span=st.sampled_from((1, SECOND, 3_600 * SECOND)))
    def the_server_clock_is_set_back(self, span: int) -> None:
        self.now -= span

    @rule(institution=institutions, changed=limits)
    def limits_change(self, institution: int, changed: Limits) -> None:
        self.limits[institution] = changed

    @rule(institution=institutions, since=st.sampled_from((None, 1, 2)), put=limits)
    def a_shadow_is_set_or_dropped(
        self, institution: int, since: int | None, put: Limits
    ) -> None:
        # Such as instants are: Lua writes no number of so many digits.
        begun = None if since is None else Shadow(put, 1_764_060_000_000_000 + since)
        self.shadows[institution] = begun

    @rule(data=st.data(), size=st.integers(1, 6))
    def a_flush_is_decided(self, data: st.DataObject, size: int) -> None:
        flush: list[Ask] = []
        expected: list[Answer] = []
        for _ in range(size):
            gives_back: bool = bool(self.charges) and data.draw(GIVES_BACK)
            ask, answer = self.give_back(data) if gives_back else self.admit(data)
            flush.append(ask)
            expected.append(answer)
        assert self.send(flush) == expected

    @rule(institution=institutions, key=keys, times=st.sampled_from((1, 60, 121)))
    def a_key_is_refused(self, institution: int, key: int, times: int) -> None:
        expected: list[Answer] = []
        for _ in range(times):
            before = self.refusals.get((institution, key), UNREFUSED)
            after = limit.count_refusal(before, self.now)
            self.refusals[institution, key] = after
            expected.append(after.collected)
        assert self.send([Refuse(institution, key)] * times) == expected

    def admit(self, data: st.DataObject) -> tuple[Ask, Answer]:
        institution, key = data.draw(institutions), data.draw(keys)
        rate_cost, quota_cost = data.draw(costs), data.draw(costs)
        allowed = self.limits[institution]
        decision = limit.admit(
            self.states[institution],
            allowed,
            self.now,
            rate_cost=rate_cost,
            quota_cost=quota_cost,
            refusals=self.refusals.get((institution, key), UNREFUSED),
        )
        shadow = self.shadows[institution]
        asked = Admit(institution, key, allowed, rate_cost, quota_cost, shadow)
        decision = decision._replace(
            generation=self.generation, shadow=self.admit_shadow(asked)
        )
        self.states[institution] = decision.state
        if decision.admitted:
            self.charges.append(Charge(institution, decision))
            self.charge(institution, decision, quota_cost)
        return asked, decision

    def admit_shadow(self, asked: Admit) -> Decision | None:
        """A plain limiter of its own, which began as the real one stood."""
        if asked.shadow is None:
            return None
        of = of_shadow(self.generation, asked.shadow.since)
        began, state = self.beside.get(asked.institution, ("", IDLE))
        refused = self.refusals.get((asked.institution, asked.key), UNREFUSED)
        decision = limit.admit(
            state if began == of else self.states[asked.institution],
            asked.shadow.limits,
            self.now,
            rate_cost=asked.rate_cost,
            quota_cost=asked.quota_cost,
            refusals=refused,
        )
        self.beside[asked.institution] = of, decision.state
        return decision._replace(generation=of)

    def give_back(self, data: st.DataObject) -> tuple[Ask, Answer]:
        place = data.draw(st.integers(0, len(self.charges) - 1))
        institution, given = self.charges.pop(place)
        if given.generation != self.generation:
            # It is not in what was loaded since, or is there for good.
            return GiveBack(institution, given), None
        answer = limit.give_back(self.states[institution], given, self.now)
        self.states[institution] = answer.state
        self.charge(institution, given, -given.quota_cost)
        self.give_back_shadow(institution, given.shadow)
        return GiveBack(institution, given), answer._replace(generation=self.generation)

    def give_back_shadow(self, institution: int, given: Decision | None) -> None:
        of, state = self.beside.get(institution, ("", IDLE))
        if given is not None and given.admitted and given.generation == of:
            state = limit.give_back(state, given, self.now).state
            self.beside[institution] = of, state

    def charge(self, institution: int, decision: Decision, units: int) -> None:
        self.days[institution, decision.state.day_ends] += units
        self.months[institution, decision.state.month_ends] += units

    def send(self, flush: list[Ask]) -> list[Answer]:
        self.client.set("pretended now", self.now)
        reply = evaluate(
            self.client, PRETENDING_SCRIPT, *encode(flush, GENERATION_KEY, TAG)
        )
        assert reply[:2] == [self.now, self.generation.encode()]
        return decode(flush, reply)

    @invariant()
    def what_is_kept_is_the_state(self) -> None:
        for institution, state in self.states.items():
            kept: dict[Any, Any] = self.client.hgetall(state_key(institution))
            assert kept.pop(b"generation").decode() == self.generation
            assert {name.decode(): int(number) for name, number in kept.items()} == (
                {} if state == IDLE else state._asdict()
            )

    @invariant()
    def what_is_kept_of_a_shadow_is_its_state(self) -> None:
        for institution, (of, state) in self.beside.items():
            kept: dict[Any, Any] = self.client.hgetall(shadow_key(institution))
            assert kept.pop(b"generation").decode() == of
            told = {name.decode(): int(number) for name, number in kept.items()}
            assert told == state._asdict()
            expires = self.client.pexpiretime(shadow_key(institution)) * 1_000
            assert expires > max(state.tat, state.month_ends)

    @invariant()
    def every_window_holds_exactly_what_was_kept_of_its_charges(self) -> None:
        for institution, state in self.states.items():
            assert state.day_used == self.days[institution, state.day_ends]
            assert state.month_used == self.months[institution, state.month_ends]

    @invariant()
    def no_key_expires_before_it_stops_to_matter_or_never(self) -> None:
        for institution, state in self.states.items():
            if state != IDLE:
                expires = self.client.pexpiretime(state_key(institution)) * 1_000
                assert expires > max(state.tat, state.month_ends)
        for (institution, key), refusals in self.refusals.items():
            expires = self.client.pexpiretime(refused_key(institution, key)) * 1_000
            assert expires == refusals.ends


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, db=1) as client:
        yield client


def test_lua_decides_as_the_model(client: redis.Redis) -> None:
    class LuaOfThisServer(Lua):
        def __init__(self) -> None:
            super().__init__(client)

    run_state_machine_as_test(
        LuaOfThisServer,
        settings=settings(
            max_examples=300,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_the_shipped_script_cannot_be_told_the_time(client: redis.Redis) -> None:
    client.set("pretended now", EARLIEST)
    seconds, _ = client.time()
    client.set(GENERATION_KEY, f"{TAG}|1")
    at, *_ = evaluate(client, ADMIT.text, *encode([Refuse(1, 7)], GENERATION_KEY, TAG))
    client.flushdb()
    assert seconds <= at // SECOND <= seconds + 60

"""Agreements at random, calls at random: never more is answered than was agreed."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import from_datetime
from gateway.partners import keeping, keys
from gateway.partners.keys import Environment
from gateway.postgres import Connection as Database
from gateway.registry.resident import Resident
from gateway.vocabulary import GRANTABLE_OPERATIONS, RESIDENT_FIELDS
from tests.acceptance import questions
from tests.acceptance.callers import DAY, PLENTY, Caller
from tests.acceptance.questions import UNKNOWN_NIK, Question, nik_of
from tests.acceptance.service import KNOWN_EVERYWHERE, Service
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

INSTITUTIONS: Final = 60
CASES: Final = 2_000
PURPOSES: Final = ("kyc", "treatment", "pension", "no-such-purpose")
SPANS: Final = ((-10, -5), (-5, 5), (-1, 30), (5, 10))
NETWORKS: Final = ("127.0.1.0/24", "127.0.2.0/25", "127.0.3.7/32", "10.0.0.0/8")
SOURCES: Final = ("127.0.1.1", "127.0.2.5", "127.0.2.200", "127.0.3.7", "127.0.3.8")
REFUSALS_A_MINUTE: Final = 120
CLAIMS_A_DAY: Final = 5
EVERY_VERDICT: Final = {
    (200, None),
    (400, "invalid-request"),
    (401, "unauthenticated"),
    (403, "address-not-allowed"),
    (403, "agreement-inactive"),
    (403, "not-granted"),
    (404, "resident-not-found"),
}
Verdict = tuple[int, str | None]


@dataclass(frozen=True, slots=True)
class Held:
    """An agreement, as far as the model needs it; grants are purpose -> what."""

    number: int
    covers_now: bool
    active: bool
    grants: dict[str, tuple[frozenset[str], frozenset[str]]]


@dataclass(slots=True)
class Modelled:
    """One key and what its institution may ask with it."""

    caller: Caller
    alive: bool
    networks: tuple[str, ...]
    agreements: list[Held]

    def verdict(self, case: "Case") -> Verdict:
        """What the contract says of a call: its status, and the problem's slug."""
        if case.forged or not self.alive:
            return 401, "unauthenticated"
        source = ip_address(case.source)
        if self.networks and not any(source in ip_network(n) for n in self.networks):
            return 403, "address-not-allowed"
        if case.malformed:
            return 400, "invalid-request"
        return self._permission(case) or _found(case)

    def _permission(self, case: "Case") -> Verdict | None:
        covering = [held for held in self.agreements if held.covers_now]
        newest = max(covering, key=lambda held: held.number, default=None)
        if newest is None or not newest.active:
            return 403, "agreement-inactive"
        nothing: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        operations, fields = newest.grants.get(case.purpose, nothing)
        if case.operation not in operations or not fields.issuperset(case.fields):
            return 403, "not-granted"
        return None


@dataclass(frozen=True, slots=True)
class Case:
    """One call; `person` is a place in the sample, None for a NIK that nobody has."""

    key: int
    forged: bool
    source: str
    malformed: bool
    operation: str
    purpose: str
    fields: tuple[str, ...]
    person: int | None


def _found(case: Case) -> Verdict:
    if case.operation == "fetch" and case.person is None:
        return 404, "resident-not-found"
    return 200, None


@dataclass(slots=True)
class Pool:
    service: Service
    modelled: list[Modelled]
    connections: dict[str, Connection]
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)
    # What was claimed by an institution of a person.
    claimed: defaultdict[tuple[int, int | None], set[frozenset[str]]] = field(
        default_factory=lambda: defaultdict(set)
    )

    def guesses(self, case: Case) -> bool:
        """Whether so many claims were asked that another may be refused (decision 34)."""
        claimed = self.claimed[self.modelled[case.key].caller.institution, case.person]
        claimed.add(frozenset(case.fields))
        return len(claimed) > CLAIMS_A_DAY


def some(chance: Random, words: Iterable[str]) -> list[str]:
    """A random choice of at least one of them."""
    held = list(words)
    return chance.sample(held, chance.randint(1, len(held)))


def random_grants(chance: Random) -> list[dict[str, Any]]:
    return [
        {
            "purpose": purpose,
            "operations": some(chance, GRANTABLE_OPERATIONS),
            "fields": some(chance, RESIDENT_FIELDS),
        }
        for purpose in some(chance, PURPOSES[:3])
    ]


async def random_agreement(
    admin: Database, chance: Random, institution: int, now: int
) -> Held:
    (begins, ends), grants = chance.choice(SPANS), random_grants(chance)
    number = await keeping.create_agreement(
        admin,
        institution,
        from_at=now + begins * DAY,
        to_at=now + ends * DAY,
        grants=grants,
        limits=PLENTY,
    )
    active = chance.random() > 0.15
    if not active:
        await keeping.change_agreement(admin, number, status="suspended")
    held = {
        grant["purpose"]: (frozenset(grant["operations"]), frozenset(grant["fields"]))
        for grant in grants
    }
    return Held(number, begins < 0 < ends, active, held)


async def random_institution(
    admin: Database, service: Service, chance: Random
) -> list[Modelled]:
    """An institution with up to two agreements and two keys: one model for each key."""
    now = from_datetime(await admin.fetchval("SELECT clock_timestamp()"))
    institution = await keeping.create_institution(admin, "Lembaga Acak")
    agreements = [
        await random_agreement(admin, chance, institution, now)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 2)))
    ]
    modelled = []
    for _ in range(2):
        state = chance.choice(("live", "live", "live", "expired", "revoked"))
        networks = tuple(some(chance, NETWORKS)) if chance.random() < 0.5 else ()
        key = await keeping.create_key(
            admin,
            service.peppers,
            institution=institution,
            not_after=now - 1 if state == "expired" else now + DAY,
            cidrs=list(networks),
            environment=Environment.LIVE,
        )
        if state == "revoked":
            await keeping.revoke_key(admin, key.id)
        caller = Caller(institution, 0, key.id, key.text)
        modelled.append(Modelled(caller, state == "live", networks, agreements))
    return modelled


@pytest.fixture(scope="module")
async def pool(service: Service) -> AsyncIterator[Pool]:
    chance = Random(6668)  # noqa: S311 - nothing here is secret
    async with service.admin() as admin:
        modelled = [
            one
            for _ in range(INSTITUTIONS)
            for one in await random_institution(admin, service, chance)
        ]
    await asyncio.sleep(KNOWN_EVERYWHERE)
    async with AsyncExitStack() as stack:
        port = service.gateway.port
        connections = {
            source: await stack.enter_async_context(
                Connection.opened(port, source=source)
            )
            for source in SOURCES
        }
        pool = Pool(service, modelled, connections)
        yield pool
    # Had the calls met none of a kind, they had proved nothing of it.
    assert set(pool.verdicts) == EVERY_VERDICT
    assert pool.verdicts.total() > CASES * 0.9


CASES_AT_RANDOM: Final = st.builds(
    Case,
    key=st.integers(0, 2 * INSTITUTIONS - 1),
    forged=st.sampled_from([False] * 15 + [True]),
    source=st.sampled_from(SOURCES),
    malformed=st.sampled_from([False] * 15 + [True]),
    operation=st.sampled_from(("verify", "fetch")),
    purpose=st.sampled_from(PURPOSES),
    # Few at a time, or hardly any call would lie within its grant.
    fields=st.lists(
        st.sampled_from(RESIDENT_FIELDS), min_size=1, max_size=3, unique=True
    ).map(tuple),
    person=st.one_of(st.none(), st.integers(0, 99), st.integers(0, 99)),
)


def question_of(case: Case, caller: Caller, residents: list[Resident]) -> Question:
    if case.forged:
        body = caller.key[:17] + "0" * keys.SECRET_LENGTH
        caller = replace(caller, key=body + keys.checksum(body))
    person = None if case.person is None else residents[case.person]
    nik = UNKNOWN_NIK if person is None else nik_of(person)
    if case.malformed:
        nik = nik[:-1]
    if case.operation == "fetch":
        return questions.fetch(caller, nik, case.fields, purpose=case.purpose)
    claims = {name: (person and person[name]) or "1801-01-01" for name in case.fields}
    return questions.verify(caller, nik, claims, purpose=case.purpose)


def check_disclosed(case: Case, answer: Answer, residents: list[Resident]) -> None:
    """Exactly the fields asked for, of exactly this person; without a 200, nothing."""
    document = answer.json
    if answer.status != 200:
        assert not {"resident", "matches", "found"} & document.keys()
    elif case.operation == "fetch":
        assert case.person is not None
        held = residents[case.person]
        assert document["resident"] == {name: held[name] for name in case.fields}
    else:
        assert document["found"] is (case.person is not None)
        assert set(document["matches"]) == (
            set(case.fields) if document["found"] else set()
        )


@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=CASES_AT_RANDOM)
async def test_no_call_is_answered_beyond_its_agreement_address_or_key(
    pool: Pool, case: Case
) -> None:
    modelled = pool.modelled[case.key]
    residents = pool.service.residents
    question = question_of(case, modelled.caller, residents)
    answer = await question.put(pool.connections[case.source])
    expected = modelled.verdict(case)
    if expected[1] in {"agreement-inactive", "not-granted"}:
        pool.refusals[case.key] += 1
    if pool.refusals[case.key] > REFUSALS_A_MINUTE and answer.status == 429:
        return
    asks = case.operation == "verify" and expected == (200, None)
    if asks and pool.guesses(case) and answer.reason == "abnormal-usage-detected":
        return
    assert (answer.status, answer.reason) == expected
    check_disclosed(case, answer, residents)
    pool.verdicts[expected] += 1

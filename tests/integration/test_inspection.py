"""What auditors read: the very bytes that were hashed, in pages that miss nothing."""

import json
import secrets
import string
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audit.batch import BatchDigests, append
from gateway.audit.entry import (
    Entry,
    KeyName,
    Place,
    PurposeName,
    access_id,
    batch_number,
    leaf_hash,
    line,
    parse_address,
)
from gateway.audit.inspection import Criteria, Cursors, Inspection, Mark, Page
from gateway.audit.subject import Subject, SubjectKeys
from gateway.clock import SECOND, to_text
from gateway.partners import keeping
from gateway.partners.keys import Environment
from gateway.postgres import Connection, pool
from gateway.settings import NumberedKeys
from gateway.vocabulary import (
    CHARGED_OUTCOMES,
    RESIDENT_FIELDS,
    Actor,
    Operation,
    Outcome,
    Reason,
)
from tests.conftest import Database

pytestmark = pytest.mark.integration

PEPPERS = NumberedKeys({1: b"1" * 32, 2: b"2" * 32})
DIGESTS = BatchDigests(PEPPERS)
HOUR, MINUTE = 3600 * SECOND, 60 * SECOND
NIK = "3171014501909001"  # a serial that nobody has
ANYTHING = Criteria()


@dataclass
class Log:
    """A log to write into as a worker and to read as an auditor."""

    hot: Connection
    superuser: Connection
    inspection: Inspection
    keys: list[KeyName]
    now: int
    batches: int = 0

    async def write(self, *entries: Entry) -> list[str]:
        """One batch of these, oldest first."""
        self.batches += 1
        batch = batch_number(
            entries[-1].at, secrets.randbelow(2048), self.batches % 1024
        )
        return await append(self.hot, batch, entries, DIGESTS)

    async def pages(
        self, criteria: Criteria = ANYTHING, *, limit: int = 7
    ) -> list[list[bytes]]:
        mark: Mark | None = None
        pages: list[list[bytes]] = []
        while not pages or mark is not None:
            page = await self.inspection.page(criteria, mark, limit)
            pages.append(lines(page))
            mark = page.next
        return pages


def lines(page: Page) -> list[bytes]:
    return [one for one, _ in page.entries]


async def make_keys(admin: Connection) -> list[KeyName]:
    institution = await keeping.create_institution(admin, "Bank Contoh")
    made = [
        await keeping.create_key(
            admin,
            PEPPERS,
            institution=institution,
            not_after=None,
            cidrs=None,
            environment=Environment.TEST,
        )
        for _ in range(2)
    ]
    return [KeyName(key.number, key.id) for key in made]


@pytest.fixture
async def log(
    database: Database, admin: Connection, superuser: Connection
) -> AsyncIterator[Log]:
    hot = await asyncpg.connect(database.dsn("hot"))
    auditor = pool(
        database.dsn("auditor"), name="auditor", size=2, statement_seconds=30
    )
    async with auditor:
        keys = await make_keys(admin)
        now = time.time_ns() // 1000
        yield Log(hot, superuser, Inspection(auditor), keys, now)
    await hot.close()


def failed(at: int, **changes: Any) -> Entry:
    entry = Entry(
        at=at,
        actor=Actor.UNIDENTIFIED,
        outcome=Outcome.FAILED,
        reason=Reason.INTERNAL_ERROR,
        operation=Operation.VERIFY,
        address=parse_address("192.0.2.1"),
    )
    return replace(entry, **changes)


def of(log: Log, institution: int, at: int, **changes: Any) -> Entry:
    known = {"actor": Actor.INSTITUTION, "institution": institution}
    return failed(at, **(known | {"key": log.keys[0]} | changes))


halves = st.integers(-(2**63), 2**63 - 1)
subjects = st.builds(Subject, halves, halves, st.integers(1, 2**15 - 1))
# PostgreSQL cannot hold a zero byte, and no reader lets one through, or an empty text.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    min_size=1,
    max_size=64,
)
# No connection comes from the unspecified address.
addresses = (
    st.ip_addresses().map(str).map(parse_address).filter(lambda one: one != "::")
)


@st.composite
def entries(draw: st.DrawFn, log: Log) -> Entry:
    """Any entry that the schema's constraints allow."""
    outcome = draw(st.sampled_from(Outcome))
    answered = outcome in CHARGED_OUTCOMES
    actor = Actor.INSTITUTION if answered else draw(st.sampled_from(Actor))
    named = actor is Actor.INSTITUTION
    keys, nothing = st.sampled_from(log.keys), st.none()
    purposes = st.sampled_from([PurposeName(1, "kyc"), PurposeName(2, "treatment")])
    needs_reason = outcome is Outcome.REFUSED
    subject = draw(subjects if answered else nothing | subjects)
    return Entry(
        at=log.now - draw(st.integers(0, 50 * SECOND - 1)),
        actor=actor,
        outcome=outcome,
        address=draw(nothing | addresses),
        operation=draw(nothing | st.sampled_from(Operation)),
        institution=draw(st.integers(1, 2**31 - 1)) if named else None,
        key=draw(keys if answered else nothing | keys),
        purpose=draw(nothing | purposes),
        fields=draw(nothing | st.integers(1, (1 << len(RESIDENT_FIELDS)) - 1)),
        subject=subject,
        reason=draw(
            st.sampled_from(Reason)
            if needs_reason
            else nothing | st.sampled_from(Reason)
        ),
        reference=draw(nothing | texts),
        operator=draw(nothing | texts),
        count=1 if subject else draw(st.integers(1, 2**31 - 1)),
        replay_of=draw(nothing | st.uuids()) if answered else None,
    )


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_a_row_yields_the_very_bytes_that_were_hashed_when_it_was_written(
    log: Log, data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(entries(log), min_size=1, max_size=12))
    written = sorted(drawn, key=lambda entry: entry.at)
    ids = await log.write(*written)
    found = [await log.inspection.entry(name) for name in ids]
    read = [one[0] for one in found if one]
    batch = await log.superuser.fetchrow(
        "SELECT batch, digest, digest_key FROM batches ORDER BY ctid DESC LIMIT 1"
    )
    assert batch is not None
    places = [Place(batch["batch"], position) for position in range(len(written))]
    assert ids == [access_id(place) for place in places]
    assert read == [
        line(entry, place) for entry, place in zip(written, places, strict=True)
    ]
    leaves = [leaf_hash(one) for one in read]
    assert DIGESTS.digest(leaves, batch["digest_key"]) == batch["digest"]


async def test_a_changed_row_no_longer_has_its_batchs_digest(log: Log) -> None:
    (name,) = await log.write(of(log, 5, log.now, reference="INV-7"))
    await log.superuser.execute("UPDATE entries SET reference = 'INV-8'")
    found = await log.inspection.entry(name)
    assert found is not None
    stored = await log.superuser.fetchval("SELECT digest FROM batches")
    assert DIGESTS.digest([leaf_hash(found[0])], PEPPERS.newest) != stored


async def test_a_name_that_no_entry_has_finds_nothing(log: Log) -> None:
    (name,) = await log.write(failed(log.now))
    other = access_id(Place(batch_number(log.now, 9, 9), 0))
    for unknown in (other, name.upper(), "", "x", str(Place(0, 0))):
        assert await log.inspection.entry(unknown) is None


async def spread(log: Log) -> list[bytes]:
    """Entries over the last hours, in gaps of many lengths; their lines, newest first."""
    expected: list[tuple[tuple[int, str], Entry]] = []
    ages = [
        0,
        1,
        SECOND,
        59 * SECOND,
        61 * SECOND,
        9 * MINUTE,
        HOUR,
        HOUR + 1,
        5 * HOUR,
    ]
    for n, age in enumerate(ages):
        at = log.now - age
        several = [of(log, 5 + n % 2, at - 2), failed(at - 1), failed(at), failed(at)]
        for name, entry in zip(await log.write(*several), several, strict=True):
            expected.append(((entry.at, name), entry))
    expected.sort(key=lambda one: one[0], reverse=True)
    found = [await log.inspection.entry(name) for (_, name), _ in expected]
    return [one[0] for one in found if one]


@pytest.mark.parametrize("limit", [1, 4, 7, 36, 1000])
async def test_pages_hold_every_entry_once_and_the_newest_first(
    log: Log, limit: int
) -> None:
    expected = await spread(log)
    pages = await log.pages(limit=limit)
    assert [one for page in pages for one in page] == expected
    assert all(len(page) == limit for page in pages[:-1])
    assert 1 <= len(pages[-1]) <= limit


async def test_pages_of_one_institution_hold_its_entries_alone(log: Log) -> None:
    expected = [one for one in await spread(log) if b'"institution":6,' in one]
    found = await log.pages(Criteria(institution=6), limit=2)
    assert [one for page in found for one in page] == expected


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_pages_go_by_instants_where_batches_were_written_in_another_order(
    log: Log, limit: int
) -> None:
    instants = []
    for n in range(40):
        # Each batch's first entry is up to 49 s older than its last, which numbers it.
        newest = log.now - n * 7 * SECOND
        oldest = newest - n * 17 % 50 * SECOND
        await log.write(of(log, 6, oldest), of(log, 7, newest), of(log, 6, newest))
        instants += [oldest, newest]
    found = await log.pages(Criteria(institution=6), limit=limit)
    told = [json.loads(one)["at"] for page in found for one in page]
    assert told == sorted(map(to_text, instants), reverse=True)


async def test_entries_that_came_since_do_not_move_the_pages_that_follow(
    log: Log,
) -> None:
    expected = await spread(log)
    first = await log.inspection.page(ANYTHING, None, 5)
    await log.write(failed(log.now + MINUTE))
    second = await log.inspection.page(ANYTHING, first.next, 1000)
    assert lines(first) + lines(second) == expected


async def test_an_empty_log_has_one_empty_page(log: Log) -> None:
    assert await log.pages() == [[]]


async def test_from_is_inclusive_and_to_is_not(log: Log) -> None:
    await log.write(*[failed(log.now + n) for n in range(4)])
    criteria = Criteria(from_at=log.now + 1, to_at=log.now + 3)
    for asked in (criteria, replace(criteria, actor=Actor.UNIDENTIFIED)):
        (page,) = await log.pages(asked)
        assert len(page) == 2


async def test_up_to_the_epoch_there_is_nothing(log: Log) -> None:
    asked = Subject(1, 2, 1)
    await log.write(of(log, 5, log.now, subject=asked))
    for criteria in (Criteria(), Criteria(institution=5), Criteria(subjects=[asked])):
        assert len((await log.pages(criteria))[0]) == 1
        assert await log.pages(replace(criteria, to_at=0)) == [[]]


async def test_every_criterion_narrows_and_all_of_them_together(log: Log) -> None:
    kyc, treatment = PurposeName(1, "kyc"), PurposeName(2, "treatment")
    base = of(log, 5, log.now, purpose=kyc)
    changes: list[dict[str, Any]] = [
        {"institution": 6},
        {"key": log.keys[1]},
        {"operation": Operation.FETCH},
        {"outcome": Outcome.DONE},
        {"purpose": treatment},
    ]
    await log.write(base, *[replace(base, **change) for change in changes])
    (auditor,) = await log.write(failed(log.now, actor=Actor.AUDITOR))
    asked: dict[str, Any] = {
        "institution": 5,
        "key": log.keys[0].number,
        "operation": Operation.VERIFY,
        "outcome": Outcome.FAILED,
        "purpose": kyc,
        "actor": Actor.INSTITUTION,
    }
    assert len((await log.pages(Criteria(**asked)))[0]) == 1
    sizes = [len((await log.pages(Criteria(**{k: v})))[0]) for k, v in asked.items()]
    assert sizes == [5, 5, 6, 6, 5, 6]
    (found,) = await log.pages(Criteria(actor=Actor.AUDITOR))
    assert auditor.encode() in found[0]


async def test_who_asked_about_a_person_is_found_under_every_subject_key(
    log: Log,
) -> None:
    old, new = (SubjectKeys(NumberedKeys({n: bytes([n] * 32)})) for n in (1, 2))
    both = SubjectKeys(NumberedKeys({n: bytes([n] * 32) for n in (1, 2)}))
    about = [old.reference(NIK), new.reference(NIK), new.reference(NIK[::-1])]
    await log.write(*[of(log, 5, log.now + n, subject=s) for n, s in enumerate(about)])
    (found,) = await log.pages(Criteria(subjects=both.references(NIK)))
    read = [json.loads(one) for one in found]
    assert [(one["subject"], one["subject_key"]) for one in read] == [
        (about[1].text, 2),
        (about[0].text, 1),
    ]


async def test_half_a_subjects_reference_is_not_enough(log: Log) -> None:
    asked = Subject(1, 2, 1)
    await log.write(of(log, 5, log.now, subject=Subject(1, 3, 1)))
    assert await log.pages(Criteria(subjects=[asked])) == [[]]


MARK = Mark(1_795_525_200_123_456, 2**62 + 5, 300)
QUESTION = repr(Criteria(institution=5))


def test_a_cursor_leads_back_to_its_mark_for_the_same_question_alone() -> None:
    cursors = Cursors(PEPPERS)
    cursor = cursors.seal(MARK, QUESTION)
    assert cursors.open(cursor, QUESTION) == MARK
    assert cursors.open(cursor, repr(Criteria(institution=6))) is None
    assert Cursors(NumberedKeys({2: b"3" * 32})).open(cursor, QUESTION) is None
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_=")


@given(st.text(max_size=60) | st.binary(max_size=40).map(bytes.hex))
def test_a_text_that_is_no_cursor_opens_nothing(text: str) -> None:
    assert Cursors(PEPPERS).open(text, QUESTION) is None


@pytest.mark.parametrize("place", range(0, 44, 3))
def test_a_cursor_with_one_character_changed_opens_nothing(place: int) -> None:
    cursors = Cursors(PEPPERS)
    cursor = cursors.seal(MARK, QUESTION)
    other = "A" if cursor[place] != "A" else "B"
    changed = cursor[:place] + other + cursor[place + 1 :]
    assert cursors.open(changed, QUESTION) is None

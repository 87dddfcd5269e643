"""Entries of every shape: exact bytes, and names that lead back to their places."""

import json
import string
from dataclasses import replace
from typing import Any
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.entry import (
    MOST_ENTRIES_A_BATCH,
    Entry,
    KeyName,
    Place,
    PurposeName,
    access_id,
    batch_instant,
    batch_number,
    field_bits,
    line,
    parse_address,
    place_of,
)
from gateway.audit.subject import Subject
from gateway.clock import SECOND
from gateway.vocabulary import RESIDENT_FIELDS, Actor, Operation, Outcome, Reason

MEMBERS = [
    "v",
    "access_id",
    "at",
    "actor",
    "institution",
    "key",
    "operation",
    "purpose",
    "fields",
    "subject",
    "subject_key",
    "outcome",
    "reason",
    "reference",
    "operator",
    "address",
    "charged",
    "count",
    "replay_of",
]
# RFC 8785 §3.2.2.2: these five have a short escape, other controls six characters.
SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 34: '"', 92: "\\"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
halves = st.integers(-(2**63), 2**63 - 1)
places = st.builds(
    Place, st.integers(0, 2**63 - 1), st.integers(0, MOST_ENTRIES_A_BATCH)
)
addresses = st.ip_addresses().map(str).map(parse_address)
entries = st.builds(
    Entry,
    at=st.integers(0, 253_402_300_799 * SECOND),
    actor=st.sampled_from(Actor),
    outcome=st.sampled_from(Outcome),
    address=st.none() | addresses,
    operation=st.none() | st.sampled_from(Operation),
    institution=st.none() | st.integers(1, 2**31 - 1),
    key=st.none()
    | st.builds(
        KeyName,
        st.integers(1, 2**31 - 1),
        st.text(string.ascii_letters + string.digits, min_size=8, max_size=8),
    ),
    purpose=st.none() | st.builds(PurposeName, st.integers(1, 9), texts),
    fields=st.none() | st.integers(1, (1 << len(RESIDENT_FIELDS)) - 1),
    subject=st.none() | st.builds(Subject, halves, halves, st.integers(1, 2**15 - 1)),
    reason=st.none() | st.sampled_from(Reason),
    reference=st.none() | texts,
    operator=st.none() | texts,
    count=st.integers(1, 2**31 - 1),
    replay_of=st.none() | st.uuids(),
)


def rfc_8785(value: Any) -> str:
    """A tiny serialiser of its own, for what lines hold; members stay in their order."""
    if isinstance(value, dict):
        members = (f"{rfc_8785(k)}:{rfc_8785(v)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(rfc_8785, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(map(_character, value)) + '"'
    return "null" if value is None else str(value)


def _character(one: str) -> str:
    if ord(one) in SHORT:
        return "\\" + SHORT[ord(one)]
    return f"\\u{ord(one):04x}" if one < " " else one


@given(entries, places)
def test_a_line_is_its_own_json_written_again(entry: Entry, place: Place) -> None:
    written = line(entry, place)
    read = json.loads(written)
    assert rfc_8785(read).encode() == written
    assert list(read) == MEMBERS
    assert b"\n" not in written


@given(entries, places)
def test_a_line_says_what_the_entry_says(entry: Entry, place: Place) -> None:
    read = json.loads(line(entry, place))
    named = {"actor", "outcome", "operation", "reason"}
    for name in named:
        word = getattr(entry, name)
        assert read[name] == (word and word.word)
    for name in ("institution", "reference", "operator", "count", "charged"):
        assert read[name] == getattr(entry, name)
    assert read["key"] == (entry.key and entry.key.id)
    assert read["purpose"] == (entry.purpose and entry.purpose.name)
    assert read["address"] == entry.address
    assert read["replay_of"] == (entry.replay_of and str(entry.replay_of))
    assert read["subject_key"] == (entry.subject and entry.subject.key)
    assert (read["v"], read["access_id"]) == (1, access_id(place))


@given(st.sampled_from(["reference", "operator"]), texts)
def test_any_text_is_escaped_as_rfc_8785_says(member: str, text: str) -> None:
    changed = {member: text}
    written = line(replace(_done(), **changed), Place(0, 0))  # type: ignore[arg-type]  # a text
    assert f'"{member}":{rfc_8785(text)},'.encode() in written


def _done() -> Entry:
    return Entry(at=0, actor=Actor.OPS, outcome=Outcome.DONE, address=None)


@given(st.sets(st.sampled_from(RESIDENT_FIELDS), min_size=1), st.randoms())
def test_fields_stand_in_the_contracts_order_whatever_was_asked_first(
    fields: set[str], chance: Any
) -> None:
    asked = sorted(fields)
    chance.shuffle(asked)
    entry = replace(_done(), fields=field_bits(tuple(asked)))
    read = json.loads(line(entry, Place(0, 0)))["fields"]
    assert read == [field for field in RESIDENT_FIELDS if field in fields]


@given(places)
def test_every_place_has_a_name_of_uuid_version_7_that_leads_back(place: Place) -> None:
    name = access_id(place)
    parsed = UUID(name)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, RFC_4122, name)
    assert place_of(name) == place


@given(st.lists(places, min_size=2))
def test_names_are_in_the_order_of_their_places(several: list[Place]) -> None:
    named = {access_id(place): place for place in several}
    assert [named[name] for name in sorted(named)] == sorted(set(several))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**41 - 1), st.integers(0, 2047), st.integers(0, 1023)
        ),
        min_size=2,
    )
)
def test_batches_are_in_the_order_of_time_and_never_share_a_number(
    made: list[tuple[int, int, int]],
) -> None:
    numbers = {one: batch_number(one[0] * 1000 + 999, *one[1:]) for one in made}
    assert [numbers[one] for one in sorted(numbers)] == sorted(set(numbers.values()))
    assert all(
        batch_instant(number) == one[0] * 1000 for one, number in numbers.items()
    )
    assert all(0 <= number < 2**63 for number in numbers.values())


@given(st.uuids(version=4).map(str) | st.text() | places.map(access_id).map(str.upper))
def test_what_this_log_did_not_name_has_no_place_unless_it_reads_the_same(
    name: str,
) -> None:
    place = place_of(name)
    assert place is None or (name == name.lower() and access_id(place) == name)


@given(places, st.integers(1, 2**37 - 1))
def test_a_name_with_any_bit_that_this_log_leaves_zero_has_no_place(
    place: Place, bits: int
) -> None:
    assert place_of(str(UUID(int=UUID(access_id(place)).int | bits))) is None

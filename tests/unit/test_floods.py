"""Floods of refusals: ten singly, the rest counted, and nothing else touched."""

from dataclasses import replace

import pytest

from gateway.audit.entry import Entry, KeyName, PurposeName, parse_address
from gateway.audit.floods import MINUTE, SINGLY, Floods
from gateway.audit.subject import Subject
from gateway.clock import SECOND
from gateway.vocabulary import Actor, Operation, Outcome, Reason

START = 1_795_525_200 * SECOND  # the first instant of a minute
REFUSAL = Entry(
    at=START,
    actor=Actor.UNIDENTIFIED,
    outcome=Outcome.REFUSED,
    reason=Reason.UNAUTHENTICATED,
    address=parse_address("192.0.2.1"),
    operation=Operation.VERIFY,
)
KNOWN = replace(
    REFUSAL,
    actor=Actor.INSTITUTION,
    institution=5,
    key=KeyName(7, "Ab3dE6gH"),
    reason=Reason.QUOTA_EXCEEDED,
    purpose=PurposeName(1, "kyc"),
    fields=3,
    subject=Subject(1, 2, 1),
    reference="one of many",
    operator="somebody",
)


def absorbed(floods: Floods, *entries: Entry) -> list[bool]:
    return [floods.absorb(entry) for entry in entries]


def flooded(*entries: Entry) -> Floods:
    """Floods in which the kinds of these have had their ten single entries."""
    floods = Floods()
    for entry in entries:
        assert not any(absorbed(floods, *[entry] * SINGLY))
    return floods


def test_ten_refusals_a_minute_are_entered_singly_and_the_rest_counted() -> None:
    floods = Floods()
    assert absorbed(floods, *[REFUSAL] * 25) == [False] * 10 + [True] * 15
    assert [entry.count for entry in floods.drain()] == [15]


@pytest.mark.parametrize("reason", list(Reason))
def test_only_the_contracts_three_reasons_are_ever_counted_together(
    reason: Reason,
) -> None:
    flooding = {"unauthenticated", "invalid-request", "quota-exceeded"}
    floods = Floods()
    taken = absorbed(floods, *[replace(REFUSAL, reason=reason)] * 11)
    assert taken[-1] == (reason.word in flooding)


def test_an_answer_is_never_counted() -> None:
    answer = replace(KNOWN, outcome=Outcome.MATCHED, reason=None)
    assert not any(absorbed(Floods(), *[answer] * 50))


def test_a_new_minute_begins_with_ten_single_entries_again() -> None:
    floods = flooded(REFUSAL)
    assert floods.absorb(replace(REFUSAL, at=START + MINUTE - 1))
    assert not floods.absorb(replace(REFUSAL, at=START + MINUTE))


def test_refusals_of_two_minutes_are_not_counted_together() -> None:
    floods = flooded(REFUSAL)
    last, first = START + MINUTE - SECOND, START + MINUTE
    floods.absorb(replace(REFUSAL, at=last))
    absorbed(floods, *[replace(REFUSAL, at=first)] * 12)
    assert [(entry.at, entry.count) for entry in floods.drain()] == [
        (last, 1),
        (first, 2),
    ]


def test_another_reason_is_another_flood() -> None:
    floods = flooded(REFUSAL)
    assert not floods.absorb(replace(REFUSAL, reason=Reason.INVALID_REQUEST))


def test_the_same_key_is_one_flood_from_whatever_address() -> None:
    floods = flooded(KNOWN)
    assert floods.absorb(replace(KNOWN, address=parse_address("192.0.2.99")))


def test_another_key_is_another_flood_from_the_same_address() -> None:
    floods = flooded(KNOWN)
    assert not floods.absorb(replace(KNOWN, key=KeyName(8, "Zb3dE6gH")))


def test_without_a_key_the_address_makes_the_flood() -> None:
    floods = flooded(REFUSAL)
    assert floods.absorb(REFUSAL)
    assert not floods.absorb(replace(REFUSAL, address=parse_address("192.0.2.2")))


def test_an_unproved_key_is_flooded_by_its_address_and_counted_by_its_id() -> None:
    guessed = replace(REFUSAL, key=KNOWN.key)
    floods = flooded(REFUSAL)
    # As an unknown one is: the answer does not tell that there is such a key.
    assert floods.absorb(guessed, proved=False)
    assert floods.absorb(REFUSAL)
    assert [one.key for one in floods.drain()] == [KNOWN.key, None]
    elsewhere = replace(guessed, address=parse_address("192.0.2.2"))
    assert not floods.absorb(elsewhere, proved=False)
    assert not floods.absorb(guessed, proved=True)


def test_ipv6_addresses_of_one_64_are_one_flood() -> None:
    first, same, other = (
        replace(REFUSAL, address=parse_address(text))
        for text in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1")
    )
    floods = flooded(first)
    assert absorbed(floods, same, other) == [True, False]
    assert floods.drain()[0].address == same.address


def test_a_joined_entry_names_no_subject_and_no_text() -> None:
    floods = flooded(KNOWN)
    floods.absorb(KNOWN)
    alone = floods.drain()[0]
    absorbed(floods, KNOWN, KNOWN)
    joined = floods.drain()[0]
    for entry in (alone, joined):
        assert (entry.subject, entry.fields, entry.reference, entry.operator) == (
            None,
            None,
            None,
            None,
        )
        assert (entry.key, entry.institution) == (KNOWN.key, KNOWN.institution)
        assert (entry.operation, entry.purpose) == (KNOWN.operation, KNOWN.purpose)


@pytest.mark.parametrize(
    "difference",
    [
        {"operation": Operation.FETCH},
        {"purpose": PurposeName(2, "treatment")},
        {"address": parse_address("198.51.100.1")},
    ],
)
def test_what_alike_refusals_differ_in_is_null_together(
    difference: dict[str, object],
) -> None:
    floods = flooded(KNOWN)
    absorbed(floods, KNOWN, replace(KNOWN, **difference), KNOWN)  # type: ignore[arg-type]  # one field each
    (joined,) = floods.drain()
    (name,) = difference
    assert getattr(joined, name) is None
    assert joined.count == 3


def test_a_joined_entry_bears_the_newest_instant() -> None:
    floods = flooded(REFUSAL)
    for seconds in (3, 9, 6):
        floods.absorb(replace(REFUSAL, at=START + seconds * SECOND))
    assert floods.drain()[0].at == START + 9 * SECOND


def test_what_was_drained_is_not_drained_again() -> None:
    floods = flooded(REFUSAL)
    floods.absorb(REFUSAL)
    assert len(floods.drain()) == 1
    assert floods.drain() == []


def test_counts_put_back_are_kept_and_added_to() -> None:
    floods = flooded(REFUSAL, KNOWN)
    absorbed(floods, REFUSAL, REFUSAL, KNOWN)
    unwritten = floods.drain()
    floods.absorb(REFUSAL)
    floods.restore(unwritten)
    counts = {entry.reason: entry.count for entry in floods.drain()}
    assert counts == {Reason.UNAUTHENTICATED: 3, Reason.QUOTA_EXCEEDED: 1}


def test_every_refusal_is_entered_or_counted() -> None:
    floods, singles = Floods(), 0
    for n in range(500):
        entry = replace(
            REFUSAL,
            at=START + n * SECOND,
            address=parse_address(f"192.0.2.{n % 3}"),
        )
        singles += not floods.absorb(entry)
    assert singles + sum(entry.count for entry in floods.drain()) == 500


def test_of_one_key_no_institution_is_named_for_whom_not_all_came() -> None:
    # Refused for the certificate alone, and with a wrong secret: of one key, alike.
    proved = replace(KNOWN, reason=Reason.UNAUTHENTICATED)
    guessed = replace(proved, actor=Actor.UNIDENTIFIED, institution=None)
    floods = flooded(proved)
    assert all(absorbed(floods, proved, guessed, proved))
    (joined,) = floods.drain()
    assert (joined.actor, joined.institution) == (Actor.UNIDENTIFIED, None)
    assert (joined.key, joined.count) == (KNOWN.key, 3)

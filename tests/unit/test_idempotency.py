"""Attempts with an idempotency key: known again by digests that say nothing."""

import hmac
from hashlib import sha256
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.idempotency import Attempts
from gateway.settings import NumberedKeys

OLD, NEW = b"o" * 32, b"n" * 40
BODY: dict[str, Any] = {
    "operation": "verify",
    "nik": "3171014501909001",
    "claims": {"name": "SITI AMINAH", "birth_date": "1990-01-05"},
    "fields": None,
    "reference": None,
}
texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def attempts(*peppers: bytes) -> Attempts:
    return Attempts(NumberedKeys(dict(enumerate(peppers, 1))))


def test_an_attempt_is_known_by_halves_of_hmacs_that_are_not_kept_whole() -> None:
    (digests,) = attempts(OLD).of(12, "loan-4711", {"b": "2", "a": 1}).digests
    derived = hmac.digest(OLD, b"idempotency", sha256)
    named = hmac.digest(derived, b"12 loan-4711", sha256)
    body = hmac.digest(named[16:], b'{"a":1,"b":"2"}', sha256)
    assert digests == (named[:16], body[:16])


def test_the_order_of_members_makes_no_other_body() -> None:
    turned = dict(reversed(BODY.items()))
    turned["claims"] = dict(reversed(BODY["claims"].items()))
    assert list(turned) != list(BODY)
    assert attempts(OLD).of(1, "k", turned) == attempts(OLD).of(1, "k", BODY)


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "fetch"},
        {"nik": "3171014501909002"},
        {"claims": {"name": "SITI AMINAH"}},
        {"claims": {"name": "1990-01-05", "birth_date": "SITI AMINAH"}},
        {"fields": ["name"]},
        {"reference": "loan 4711"},
    ],
)
def test_any_other_member_makes_another_body_of_the_same_key(
    change: dict[str, Any],
) -> None:
    (digests,) = attempts(OLD).of(1, "k", BODY).digests
    (changed,) = attempts(OLD).of(1, "k", BODY | change).digests
    assert changed.key == digests.key
    assert changed.body != digests.body


@given(
    st.tuples(st.integers(1, 2**31 - 1), texts),
    st.tuples(st.integers(1, 2**31 - 1), texts),
)
def test_no_two_institutions_and_no_two_keys_are_taken_for_each_other(
    one: tuple[int, str], other: tuple[int, str]
) -> None:
    (first,) = attempts(OLD).of(*one, BODY).digests
    (second,) = attempts(OLD).of(*other, BODY).digests
    assert (first.key == second.key) == (one == other)
    # So it cannot be seen either that both asked the same.
    assert (first.body == second.body) == (one == other)


def test_without_the_pepper_no_digest_can_be_made() -> None:
    (digests,) = attempts(OLD).of(1, "k", BODY).digests
    (others,) = attempts(NEW).of(1, "k", BODY).digests
    assert not {*digests} & {*others}


def test_workers_that_know_a_pepper_in_common_know_each_others_attempts() -> None:
    """As peppers are rotated: the next is added, then the oldest goes."""
    steps = [{1: OLD}, {1: OLD, 2: NEW}, {2: NEW}]
    made = [Attempts(NumberedKeys(step)).of(1, "k", BODY) for step in steps]
    assert [len(one.digests) for one in made] == [1, 2, 1]
    known = [
        bool({*one.digests} & {*other.digests}) for one, other in combinations(made, 2)
    ]
    assert known == [True, False, True]

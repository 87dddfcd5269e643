"""Subject references: the HMAC of the contract, under every numbered key."""

import hmac

import pytest

from gateway.audit.subject import Subject, SubjectKeys
from gateway.settings import NumberedKeys

OLD, NEW = b"o" * 32, b"n" * 40
KEYS = SubjectKeys(NumberedKeys({2: NEW, 1: OLD}))
# Serials from 9000 up belong to nobody; the second begins with a zero.
NIKS = ["3171014501909001", "0171014501909002", "9171014501909003"]


def reference(nik: str, key: bytes) -> str:
    return hmac.digest(key, nik.encode(), "sha256")[:16].hex()


@pytest.mark.parametrize("nik", NIKS)
def test_a_reference_is_half_of_the_hmac_under_the_newest_key(nik: str) -> None:
    subject = KEYS.reference(nik)
    assert (subject.text, subject.key) == (reference(nik, NEW), 2)


@pytest.mark.parametrize("nik", NIKS)
def test_a_search_asks_under_every_key_there_is(nik: str) -> None:
    found = {subject.key: subject.text for subject in KEYS.references(nik)}
    assert found == {1: reference(nik, OLD), 2: reference(nik, NEW)}


def test_a_reference_made_before_does_not_change_the_next() -> None:
    first, _ = KEYS.reference(NIKS[0]), KEYS.reference(NIKS[1])
    assert KEYS.reference(NIKS[0]) == first


@pytest.mark.parametrize(
    ("head", "tail", "text"),
    [
        (0, 1, "0" * 31 + "1"),
        (-1, -(2**63), "f" * 16 + "8" + "0" * 15),
        (2**63 - 1, -2, "7" + "f" * 15 + "f" * 15 + "e"),
    ],
)
def test_signed_halves_are_written_as_32_digits(
    head: int, tail: int, text: str
) -> None:
    assert Subject(head, tail, 1).text == text


def test_both_halves_fit_a_signed_column() -> None:
    subjects = [KEYS.reference(f"{n:016d}") for n in range(200)]
    halves = [half for subject in subjects for half in subject[:2]]
    assert min(halves) < 0 < max(halves)
    assert all(-(2**63) <= half < 2**63 for half in halves)


def test_what_else_is_named_is_told_from_residents_and_by_its_kind() -> None:
    named = KEYS.digest(b"prefix", NIKS[0][:12].encode())
    assert named == hmac.digest(NEW, b"prefix " + NIKS[0][:12].encode(), "sha256")
    assert named != KEYS.digest(b"claims", NIKS[0][:12].encode())

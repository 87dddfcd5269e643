"""Sealed slices of jobs open in their place, and nowhere else."""

import os
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag

from gateway.batching import Item
from gateway.jobs.vault import Answered, Vault
from gateway.settings import NumberedKeys

JOB, OTHER = UUID(int=7), UUID(int=8)
ITEMS = [
    Item("a", "3171014501909001", ("name",), {"name": "SITI AMINAH"}),
    Item("b", "3171014501909002", ("name",), {"name": "BUDI"}),
]
ANSWERS = [Answered("a", "01", None, None, {"name": True})]


def vault(*secrets: bytes) -> Vault:
    return Vault(NumberedKeys(dict(enumerate(secrets, 1))))


def test_what_was_sealed_opens_only_in_its_place() -> None:
    made = vault(os.urandom(32))
    box = made.box(JOB, 1)
    sealed = box.seal_items(200, ITEMS)
    assert box.items(200, sealed) == ITEMS
    answers = box.seal_answers(200, ANSWERS)
    assert box.answers(200, answers) == ANSWERS
    for elsewhere, place in ((box, 0), (made.box(OTHER, 1), 200)):
        with pytest.raises(InvalidTag):
            elsewhere.items(place, sealed)
    with pytest.raises(InvalidTag):
        box.answers(200, sealed)
    with pytest.raises(InvalidTag):
        vault(os.urandom(32)).box(JOB, 1).items(200, sealed)


def test_the_newest_secret_seals_and_older_ones_still_open() -> None:
    first, second = os.urandom(32), os.urandom(32)
    before = vault(first)
    sealed = before.box(JOB, before.newest).seal_items(0, ITEMS)
    after = vault(first, second)
    assert after.newest == 2
    assert after.box(JOB, 1).items(0, sealed) == ITEMS


def test_it_says_nothing_of_what_it_holds_and_no_two_are_alike() -> None:
    box = vault(os.urandom(32)).box(JOB, 1)
    one, two = box.seal_items(0, ITEMS), box.seal_items(0, ITEMS)
    assert one != two
    for text in (b"SITI", b"3171014501909001", b"name"):
        assert text not in one


def test_names_are_told_apart_by_job() -> None:
    made = vault(os.urandom(32))
    first, second = made.box(JOB, 1).names(ITEMS)
    assert first != second
    assert made.box(JOB, 1).names(ITEMS) == [first, second]
    assert made.box(OTHER, 1).names(ITEMS) != [first, second]

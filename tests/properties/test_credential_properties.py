"""Keys, NIKs, cursors and idempotency keys: what is made is read, all else is refused."""

import base64
import json
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.inspection import Criteria, Cursors, Mark
from gateway.edge import strict
from gateway.partners.keys import (
    ALPHABET,
    Credential,
    Environment,
    Kind,
    checksum,
    parse,
)
from gateway.problems import Fault
from gateway.registry.resident import is_nik
from gateway.settings import NumberedKeys

CURSORS = Cursors(NumberedKeys({1: b"1" * 32, 2: b"2" * 32}))
URL_SAFE = string.ascii_letters + string.digits + "-_="
VISIBLE = string.digits + string.ascii_letters + string.punctuation

anything = st.text(st.characters(), max_size=80)
bodies = st.builds(
    "{}_{}_{}".format,
    st.sampled_from([kind.value for kind in Kind]),
    st.sampled_from([one.value for one in Environment]),
    st.text(ALPHABET, min_size=38, max_size=38),
)
keys = bodies.map(lambda body: body + checksum(body))
instants = st.integers(-(2**63), 2**63 - 1)
marks = st.builds(Mark, instants, instants, st.integers(-(2**15), 2**15 - 1))
questions = st.builds(
    Criteria,
    from_at=st.none() | instants,
    institution=st.none() | st.integers(1, 2**31 - 1),
    key=st.none() | st.integers(1, 2**31 - 1),
).map(repr)


@given(keys)
def test_every_key_of_the_form_is_read_as_itself(text: str) -> None:
    assert parse(text) == Credential(text[9:17], text)


@given(keys, st.integers(0, 52), st.characters())
def test_a_key_with_any_one_character_changed_is_none(
    text: str, place: int, other: str
) -> None:
    changed = text[:place] + other + text[place + 1 :]
    assert (parse(changed) is None) == (changed != text)


@given(anything | keys.map(str.swapcase) | st.builds("{}{}".format, keys, anything))
def test_no_text_is_read_as_another_key_than_it_is(text: str) -> None:
    read = parse(text)
    assert read is None or (read.text == text and len(text) == 53)


@given(marks, questions, questions)
def test_a_cursor_leads_back_to_its_mark_and_answers_no_other_question(
    mark: Mark, question: str, other: str
) -> None:
    cursor = CURSORS.seal(mark, question)
    assert CURSORS.open(cursor, question) == mark
    assert (CURSORS.open(cursor, other) is None) == (question != other)


@given(marks, questions, st.binary(min_size=1, max_size=64))
def test_a_cursor_with_any_bits_flipped_or_added_opens_nothing(
    mark: Mark, question: str, bits: bytes
) -> None:
    sealed = base64.urlsafe_b64decode(CURSORS.seal(mark, question))
    longest = max(len(sealed), len(bits))
    other = int.from_bytes(sealed.ljust(longest, b"\0")) ^ int.from_bytes(bits)
    changed = other.to_bytes(longest)
    cursor = base64.urlsafe_b64encode(changed).decode()
    assert (CURSORS.open(cursor, question) is None) == (changed != sealed)


@given(marks, questions, st.integers(0, 47), st.sampled_from(URL_SAFE))
def test_a_cursor_with_any_one_character_changed_opens_nothing(
    mark: Mark, question: str, place: int, other: str
) -> None:
    cursor = CURSORS.seal(mark, question)
    changed = cursor[:place] + other + cursor[place + 1 :]
    assert (CURSORS.open(changed, question) is None) == (changed != cursor)


@given(anything, questions)
def test_no_other_text_opens_anything(text: str, question: str) -> None:
    assert CURSORS.open(text, question) is None


@given(st.text(string.digits + "٣²", min_size=14, max_size=18) | anything)
def test_a_nik_is_16_digits_and_is_read_as_it_was_written(text: str) -> None:
    faults: list[Fault] = []
    nik = strict.read_nik(text, faults)
    assert (nik, not faults) == ((text, True) if is_nik(text) else (None, False))
    assert is_nik(text) == bool(re.fullmatch("[0-9]{16}", text))


@given(st.text(VISIBLE, min_size=1, max_size=64).filter(lambda key: key[0] != '"'))
def test_an_idempotency_key_is_the_same_bare_and_in_quotes(key: str) -> None:
    faults: list[Fault] = []
    # A string of RFC 9651 §3.3.3 is JSON's, where it is of visible ASCII.
    quoted = json.dumps(key)
    assert strict.read_idempotency_key([key], faults) == key
    assert strict.read_idempotency_key([f" {quoted}\t"], faults) == key
    assert strict.read_idempotency_key([key, key], faults) is None
    assert len(faults) == 1


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=70), max_size=2))
def test_whatever_the_header_holds_it_is_one_key_or_one_fault(
    values: list[str],
) -> None:
    faults: list[Fault] = []
    key = strict.read_idempotency_key(values, faults)
    assert (key is None) == (not values or bool(faults))
    if key is not None:
        assert 1 <= len(key) <= 64
        assert set(key) <= set(VISIBLE)

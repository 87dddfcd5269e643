"""Whatever is sent, wherever it is put: a clean answer, and nothing of it repeated."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.calls import Question
from gateway.edge import questions, rendering, strict
from gateway.problems import Fault, InvalidRequest
from gateway.registry.resident import is_nik
from gateway.vocabulary import RESIDENT_FIELDS

Read = Callable[[bytes], Question]
READERS: list[Read] = [questions.read_verify, questions.read_fetch]
MEMBERS = ("nik", "purpose", "claims", "fields", "reference", "operator")
# RFC 6901 §3.
POINTER = re.compile(r"(/([^/~]|~[01])*)*")
# A name of letters tells nothing that its caller did not choose as a name.
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
SIXTEEN = re.compile(r"\d{16}")
TELLING = 8
# Its own words say nothing of what was sent, even where they are the same.
OWN_WORDS = inspect.getsource(strict) + inspect.getsource(questions)

# Lone surrogates too: JSON can spell them, and UTF-8 cannot.
anything = st.text(st.characters(), max_size=40)
names = st.sampled_from([*MEMBERS, *RESIDENT_FIELDS]) | anything
telling = st.one_of(
    st.from_regex(r"[0-9]{16}", fullmatch=True),
    st.from_regex(r"[A-Z]{4,9} [A-Z]{4,9}", fullmatch=True),
    anything,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | telling,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)
    ),
    max_leaves=12,
)
bodies = st.dictionaries(names, values, max_size=8)


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from (name, *texts_in(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def tells(text: str) -> bool:
    plain = PLAIN.fullmatch(text) and not SIXTEEN.search(text)
    return len(text) >= TELLING and not plain and text not in OWN_WORDS


def said(faults: list[Fault]) -> str:
    return "\n".join(f"{fault.pointer} {fault.detail}" for fault in faults)


@pytest.mark.parametrize("read", READERS)
@given(body=bodies)
@example(body={"nik": "\ud800", "reference": "\ud800 tail", "operator": "\udfff"})
@example(body={"claims": {"\ud800": "1", "name": "\ud800"}, "fields": ["\ud800"]})
@example(body={"SITI AMINAH": {"3171014501909001": "3171014501909001"}})
def test_nothing_that_was_sent_is_repeated_unless_it_is_a_plain_name(
    read: Read, body: dict[str, Any]
) -> None:
    question = read(json.dumps(body).encode())
    answer = said(question.faults)
    assert not [text for text in texts_in(body) if tells(text) and text in answer]


@pytest.mark.parametrize("read", READERS)
@given(body=bodies)
def test_any_json_object_ends_in_a_question_or_in_a_problem_that_can_be_sent(
    read: Read, body: dict[str, Any]
) -> None:
    faults = read(json.dumps(body).encode()).faults
    assert all(POINTER.fullmatch(fault.pointer) for fault in faults)
    response = rendering.problem(InvalidRequest(faults))
    assert json.loads(response.content)["errors"] == [
        {"pointer": fault.pointer, "detail": fault.detail} for fault in faults
    ]


@pytest.mark.parametrize("read", READERS)
@given(
    body=st.binary(max_size=200)
    | anything.map(lambda text: text.encode("utf-16", "surrogatepass"))
)
def test_any_bytes_end_in_a_question_with_faults(read: Read, body: bytes) -> None:
    assert read(body).faults


@pytest.mark.parametrize("read", READERS)
@given(body=bodies)
def test_what_was_read_is_fit_for_the_log_and_the_registry(
    read: Read, body: dict[str, Any]
) -> None:
    question = read(json.dumps(body).encode())
    assert question.nik is None or is_nik(question.nik)
    for text in (question.reference, question.operator):
        if text is not None:
            assert 1 <= len(text) <= 64
            others = [one for one in text if not one.isprintable()]
            assert {category(one) for one in others} <= {"Zs"}
            assert not SIXTEEN.search("".join(filter(str.isprintable, text)))
    assert set(question.fields) <= set(RESIDENT_FIELDS)
    for text in (*question.claims.values(), *(question.reference or "",)):
        text.encode()


@given(anything, st.sampled_from(["reason", "from"]))
def test_a_query_is_read_or_refused_and_never_repeated(text: str, known: str) -> None:
    faults: list[Fault] = []
    pairs = [(text, text), (known, text), (known, text)]
    given_once = strict.query_members(pairs, (known,), faults)
    assert given_once[known] == text
    assert strict.read_instant(text, faults, "?from") is None or text[:1].isdigit()
    assert not (tells(text) and text in said(faults))


@given(st.text(st.characters(categories=["Nd"]), min_size=16, max_size=64))
def test_sixteen_digits_of_any_script_are_refused_in_free_text(digits: str) -> None:
    faults: list[Fault] = []
    assert strict.read_text(f"a{digits}"[:64], faults, "/operator") is None
    assert strict.pointer("", f"a{digits}"[:64]) == ""

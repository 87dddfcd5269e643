"""Items of batches and jobs: those that are well formed are read, all others are told of."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edge import questions
from gateway.vocabulary import RESIDENT_FIELDS
from tests.fuzz.parsers import PARSERS

printable = st.text(
    st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40
)
# What begins as a key is one that nobody may write.
short = printable.filter(lambda text: "gd" not in text)
niks = st.integers(0, 10**16 - 1).map("{:016d}".format)
claims = st.dictionaries(
    st.sampled_from([name for name in RESIDENT_FIELDS if name != "birth_date"]),
    short,
    min_size=1,
    max_size=4,
)
items = st.lists(
    st.fixed_dictionaries({"id": short, "nik": niks, "claims": claims}),
    min_size=1,
    max_size=5,
    unique_by=lambda item: str(item["id"]),
)
junk = st.one_of(
    st.binary(max_size=40),
    st.just(b"[]"),
    st.just(b'{"id":"1","id":"2"}'),
    st.recursive(st.none() | st.integers() | printable, st.lists, max_leaves=4).map(
        lambda value: json.dumps(value).encode()
    ),
)


@given(items)
def test_every_item_of_a_batch_is_read_as_it_was_written(
    written: list[dict[str, Any]],
) -> None:
    body = {"operation": "verify", "purpose": "kyc", "items": written}
    batch = asyncio.run(questions.read_batch(json.dumps(body).encode()))
    told = [f"{fault.pointer} {fault.detail}" for fault in batch.faults]
    # An id of 16 digits in a row is one that nobody may choose.
    assert all(one.endswith("16 digits in a row") for one in told)
    read = [{"id": one.id, "nik": one.nik, "claims": one.claims} for one in batch.items]
    assert told or read == written


@settings(max_examples=50)
@given(
    st.integers(0, 127),
    st.lists(
        items.map(lambda some: json.dumps(some[0]).encode()) | junk, max_size=6
    ).map(b"\n".join),
)
def test_the_lines_of_a_job_are_the_same_in_whatever_pieces_they_come(
    size: int, lines: bytes
) -> None:
    PARSERS["job_lines"](bytes([size]) + lines)

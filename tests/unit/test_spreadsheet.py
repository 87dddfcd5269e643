"""Entries as CSV: what people wrote is no formula where a spreadsheet opens it."""

import csv
import io
import json

import pytest

from gateway.edge.spreadsheet import MEMBERS, rows


def row_of(**members: object) -> dict[str, str]:
    """What a reader of CSV finds of a line with these members and no others."""
    line = json.dumps(dict.fromkeys(MEMBERS) | members).encode()
    reader = csv.DictReader(io.StringIO(rows([line]).decode(), newline=""), MEMBERS)
    (row,) = reader
    return row


@pytest.mark.parametrize(
    "written", ['=HYPERLINK("http://x","y")', "+62 21 500", "-1", "@SUM(A1)"]
)
def test_what_people_wrote_is_not_computed(written: str) -> None:
    row = row_of(reference=written, operator=written)
    assert (row["reference"], row["operator"]) == (f"'{written}", f"'{written}")


def test_any_other_text_stands_as_it_was_written() -> None:
    row = row_of(reference='loan "7", part=2', fields=["name", "nik"], count=3)
    assert (row["reference"], row["fields"]) == ('loan "7", part=2', "name;nik")
    assert (row["count"], row["operator"]) == ("3", "")

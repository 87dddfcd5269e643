"""Entries as CSV (RFC 4180), for people who open them in a spreadsheet."""

import csv
import io
from collections.abc import Iterable
from typing import Final

import msgspec

# The members of a line, in its order.
MEMBERS: Final = (
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
)
# What a cell must not begin with, or a spreadsheet computes it.
_COMPUTED: Final = ("=", "+", "-", "@")
HEADING: Final = ",".join(MEMBERS).encode() + b"\r\n"


def rows(lines: Iterable[bytes]) -> bytes:
    """A row for each line of the log: null is empty, lists are joined by `;`."""
    text = io.StringIO()
    writer = csv.writer(text)
    for line in lines:
        members = msgspec.json.decode(line)
        writer.writerow([_cell(members[name]) for name in MEMBERS])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if isinstance(value, list):
        value = ";".join(value)
    if isinstance(value, str) and value.startswith(_COMPUTED):
        return f"'{value}"
    return "" if value is None else str(value)

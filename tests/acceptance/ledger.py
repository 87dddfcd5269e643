"""The log as it stands in the database, each entry read back through its line."""

import json
from typing import Any

import asyncpg

from gateway.audit.entry import Place, line
from gateway.audit.rows import read_entry

Entry = dict[str, Any]

_ENTRIES = """
SELECT e.*, abbrev(e.address) AS address, k.id AS key_id, p.name AS purpose_name
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
WHERE {condition}
ORDER BY e.at, e.batch, e.position
"""


async def entries(dsn: str, condition: str = "true", *arguments: object) -> list[Entry]:
    """The entries that meet a condition on their rows (`e`), oldest first.

    Args:
        dsn: the auditor's.
        condition: SQL, with `$1` and so on for `arguments`.
        arguments: what the condition names.
    """
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_ENTRIES.format(condition=condition), *arguments)
    finally:
        await connection.close()
    return [
        json.loads(line(read_entry(row), Place(row["batch"], row["position"])))
        for row in rows
    ]


async def of_institution(dsn: str, institution: int) -> list[Entry]:
    return await entries(dsn, "e.institution = $1", institution)


def differences(expected: Entry, entry: Entry) -> dict[str, tuple[object, object]]:
    """Each member in which the entry is not what was expected: (expected, found)."""
    return {
        member: (value, entry[member])
        for member, value in expected.items()
        if entry[member] != value
    }

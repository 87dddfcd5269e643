"""What is kept about partners and staff, as tables for people and JSON for programs.

JSON has instants in UTC, as the contract writes them; tables have them to the second in
the time of Asia/Jakarta. Times and grants are written as the command line reads them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.clock import JAKARTA_OFFSET, to_datetime, to_text
from gateway.partners.agreement import Agreement, Grant
from gateway.partners.listing import InstitutionRecord, KeyRecord, StaffRecord
from gateway.vocabulary import GRANTABLE_OPERATIONS

_JAKARTA: Final = timezone(timedelta(microseconds=JAKARTA_OFFSET))


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: a heading and rows of texts, and the same as JSON documents."""

    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    documents: Sequence[dict[str, object]]


def show(listing: Listing, *, as_json: bool) -> None:
    """Writes it to standard output."""
    if as_json:
        typer.echo(json.dumps(listing.documents, indent=2, ensure_ascii=False))
        return
    table = Table()
    for title in listing.heading:
        # Folded, never cut: an id that lost its end names nothing.
        table.add_column(title, overflow="fold")
    for row in listing.rows:
        # As Text, since a name may hold what rich takes for markup.
        table.add_row(*map(Text, row))
    Console().print(table)


def of_institutions(records: Iterable[InstitutionRecord]) -> Listing:
    documents: list[dict[str, object]] = []
    rows = []
    for record in records:
        created = record.created_at
        rows.append((str(record.id), record.name, _local(created)))
        documents.append(
            {"id": record.id, "name": record.name, "created_at": to_text(created)}
        )
    return Listing(("id", "name", "created"), rows, documents)


def of_agreements(agreements: Iterable[Agreement]) -> Listing:
    documents: list[dict[str, object]] = []
    rows = []
    for each in agreements:
        limits = each.limits._asdict()
        row = (str(each.id), str(each.institution), _local(each.from_at))
        grants = "\n".join(map(_grant, each.grants.values()))
        bounds = "\n".join(f"{name} {limit:,}" for name, limit in limits.items())
        rows.append((*row, _local(each.to_at), each.status, grants, bounds))
        documents.append(
            {
                "id": each.id,
                "institution": each.institution,
                "from": to_text(each.from_at),
                "to": to_text(each.to_at),
                "status": each.status,
                "grants": list(map(_grant_document, each.grants.values())),
                "limits": limits,
            }
        )
    heading = ("id", "institution", "from", "to", "status", "grants", "limits")
    return Listing(heading, rows, documents)


def of_keys(records: Iterable[KeyRecord]) -> Listing:
    documents: list[dict[str, object]] = []
    rows = []
    for record in records:
        cidrs = list(map(str, record.networks))
        row = (record.id, str(record.institution), _local(record.not_after))
        lived = (_local(record.created_at), _local(record.revoked_at))
        rows.append((*row, "\n".join(cidrs) or "anywhere", *lived))
        documents.append(
            {
                "id": record.id,
                "institution": record.institution,
                "not_after": _instant(record.not_after),
                "cidrs": cidrs,
                "created_at": to_text(record.created_at),
                "revoked_at": _instant(record.revoked_at),
            }
        )
    heading = ("id", "institution", "not after", "admitted from", "created", "revoked")
    return Listing(heading, rows, documents)


def of_staff(records: Iterable[StaffRecord]) -> Listing:
    documents: list[dict[str, object]] = []
    rows = []
    for record in records:
        who = (str(record.id), record.role, record.name, record.token)
        times = (record.not_after, record.created_at, record.revoked_at)
        rows.append((*who, *map(_local, times)))
        documents.append(
            {
                "id": record.id,
                "role": record.role,
                "name": record.name,
                "token": record.token,
                "not_after": _instant(record.not_after),
                "created_at": to_text(record.created_at),
                "revoked_at": _instant(record.revoked_at),
            }
        )
    heading = ("id", "role", "name", "token", "not after", "created", "revoked")
    return Listing(heading, rows, documents)


def _grant(grant: Grant) -> str:
    """As `--grant` takes it."""
    operations = ",".join(_operations(grant))
    fields = ",".join(grant.fields)
    return f"{grant.purpose}:{operations}:{fields}:{grant.name_similarity:g}"


def _grant_document(grant: Grant) -> dict[str, object]:
    return {
        "purpose": grant.purpose,
        "operations": _operations(grant),
        "fields": list(grant.fields),
        "name_similarity": grant.name_similarity,
    }


def _operations(grant: Grant) -> list[str]:
    return [word for word in GRANTABLE_OPERATIONS if word in grant.operations]


def _instant(at: int | None) -> str | None:
    return None if at is None else to_text(at)


def _local(at: int | None) -> str:
    if at is None:
        return "-"
    try:
        return to_datetime(at).astimezone(_JAKARTA).isoformat(timespec="seconds")
    except OverflowError:
        # The last hours of 9999 in UTC: an agreement without an end.
        return to_text(at)

"""What is kept about partners and staff, as tables for people and JSON for programs.

JSON is that of gateway/partners/documents.py; tables have instants to the second in
the time of Asia/Jakarta. Times and grants are written as the command line reads them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.clock import JAKARTA_OFFSET, to_datetime, to_text
from gateway.partners import documents
from gateway.partners.agreement import Agreement, Grant
from gateway.partners.certificates import Certificate
from gateway.partners.documents import Document
from gateway.partners.listing import InstitutionRecord, KeyRecord, StaffRecord
from gateway.vocabulary import Limits

_JAKARTA: Final = timezone(timedelta(microseconds=JAKARTA_OFFSET))


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: a heading and rows of texts, and the same as JSON documents."""

    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    documents: Sequence[Document]


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


def of_institutions(records: Sequence[InstitutionRecord]) -> Listing:
    rows = [(str(one.id), one.name, _local(one.created_at)) for one in records]
    told = list(map(documents.of_institution, records))
    return Listing(("id", "name", "created"), rows, told)


def of_agreements(agreements: Sequence[Agreement]) -> Listing:
    rows = []
    for each in agreements:
        row = (str(each.id), str(each.institution), _local(each.from_at))
        grants = "\n".join(map(_grant, each.grants.values()))
        beside = _bounds(each.shadow.limits) if each.shadow else "-"
        stands = (_local(each.to_at), each.status, grants)
        rows.append((*row, *stands, _bounds(each.limits), beside))
    terms = ("from", "to", "status", "grants", "limits", "shadow")
    heading = ("id", "institution", *terms)
    return Listing(heading, rows, list(map(documents.of_agreement, agreements)))


def of_keys(records: Sequence[KeyRecord]) -> Listing:
    rows = []
    for record in records:
        cidrs = "\n".join(map(str, record.networks)) or "anywhere"
        row = (record.id, str(record.institution), _local(record.not_after))
        lived = (record.created_at, record.revoked_at, record.last_used_at)
        rows.append((*row, cidrs, *map(_local, lived)))
    terms = ("id", "institution", "not after", "admitted from")
    heading = (*terms, "created", "revoked", "last used")
    return Listing(heading, rows, list(map(documents.of_key, records)))


def of_certificates(certificates: Sequence[Certificate]) -> Listing:
    rows = []
    for one in certificates:
        which = (str(one.id), str(one.institution), one.label, one.fingerprint.hex())
        lived = (one.not_after, one.created_at, one.unbound_at)
        rows.append((*which, *map(_local, lived)))
    terms = ("label", "fingerprint", "not after", "created", "unbound")
    heading = ("id", "institution", *terms)
    return Listing(heading, rows, list(map(documents.of_certificate, certificates)))


def of_staff(records: Sequence[StaffRecord]) -> Listing:
    rows = []
    for record in records:
        who = (str(record.id), record.role, record.name, record.token)
        lived = (record.created_at, record.revoked_at, record.last_used_at)
        rows.append((*who, *map(_local, (record.not_after, *lived))))
    terms = ("id", "role", "name", "token", "not after")
    heading = (*terms, "created", "revoked", "last used")
    return Listing(heading, rows, list(map(documents.of_staff, records)))


def _bounds(limits: Limits) -> str:
    return "\n".join(f"{name} {limit:,}" for name, limit in limits._asdict().items())


def _grant(grant: Grant) -> str:
    """As `--grant` takes it."""
    operations = ",".join(documents.operations_in_order(grant))
    fields = ",".join(grant.fields)
    return f"{grant.purpose}:{operations}:{fields}:{grant.name_similarity:g}"


def _local(at: int | None) -> str:
    if at is None:
        return "-"
    try:
        return to_datetime(at).astimezone(_JAKARTA).isoformat(timespec="seconds")
    except OverflowError:
        # The last hours of 9999 in UTC: an agreement without an end.
        return to_text(at)

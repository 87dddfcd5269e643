"""From a row of the log to the entry it holds."""

import asyncpg

from gateway.audit.entry import Entry, KeyName, PurposeName, canonical
from gateway.audit.subject import Subject
from gateway.clock import from_datetime
from gateway.vocabulary import Actor, Operation, Outcome, Reason


def read_entry(row: asyncpg.Record) -> Entry:
    """The entry a row holds; its line is the one that was hashed when it was written."""
    head, key, purpose = row["subject_head"], row["key"], row["purpose"]
    reason, operation, address = row["reason"], row["operation"], row["address"]
    return Entry(
        at=from_datetime(row["at"]),
        actor=Actor.numbered(row["actor"]),
        outcome=Outcome.numbered(row["outcome"]),
        address=None if address is None else canonical(address),
        operation=None if operation is None else Operation.numbered(operation),
        institution=row["institution"],
        key=None if key is None else KeyName(key, row["key_id"]),
        purpose=None if purpose is None else PurposeName(purpose, row["purpose_name"]),
        fields=row["fields"],
        subject=None
        if head is None
        else Subject(head, row["subject_tail"], row["subject_key"]),
        reason=None if reason is None else Reason.numbered(reason),
        reference=row["reference"],
        operator=row["operator"],
        count=row["count"] or 1,
        replay_of=row["replay_of"],
    )

"""A job: up to a million questions of one institution, answered bit by bit."""

from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

import asyncpg

from gateway.audit.entry import Address, parse_address
from gateway.clock import from_datetime
from gateway.partners.agreement import fields_of
from gateway.vocabulary import Operation, Reason

MOST_ITEMS: Final = 1_000_000
# Of one institution that are not over.
MOST_AT_ONCE: Final = 4
# Items kept, answered and told together; what one costs a worker's loop is milliseconds.
SLICE: Final = 200
# Answers are kept for so long once a job is over, and then nothing of it.
KEPT_SECONDS: Final = 24 * 3600
# Whoever receives an upload says so three times in as long; else it counts for nothing,
ALIVE_SECONDS: Final = 60
# and is kept for so much longer.
GIVEN_UP_SECONDS: Final = 3600
# What has not come to an end by then never does.
LONGEST_SECONDS: Final = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Job:
    """As it stood when it was read. Instants are microseconds since 1970.

    `answered` items have an entry each and are charged, a unit each; `reserved` units are
    held for the others, in the windows of `reserved_at`.
    """

    id: UUID
    institution: int
    key: int
    address: Address | None
    operation: Operation
    purpose: str
    secret: int
    status: str
    reason: Reason | None
    fields: tuple[str, ...]
    items: int
    answered: int
    reserved: int
    reserved_at: int
    created_at: int
    over_at: int | None
    lease: UUID | None

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        told = {name: row[name] for name in cls.__slots__}
        told["operation"] = Operation.numbered(row["operation"])
        told["reason"] = row["reason"] and Reason.numbered(row["reason"])
        told["fields"] = fields_of(row["fields"])
        told["reserved_at"] = from_datetime(row["reserved_at"] or row["created_at"])
        told["created_at"] = from_datetime(row["created_at"])
        told["over_at"] = row["over_at"] and from_datetime(row["over_at"])
        told["address"] = row["address"] and parse_address(str(row["address"]))
        return cls(**told)

    @property
    def word(self) -> str:
        """The operation as grants name it: verify or fetch."""
        return self.operation.word.removeprefix("batch.")


def job_id(text: str) -> UUID | None:
    """The id in a path; None for what names no job."""
    try:
        number = UUID(text)
    except ValueError:
        return None
    return number if str(number) == text else None

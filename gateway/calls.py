"""What a call is while it is under way: what its body asks, and what became of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.audit.access import Access
from gateway.audit.claims import Claim
from gateway.partners.keys import Proved
from gateway.problems import Fault
from gateway.quota.limit import Decision


@dataclass(slots=True)
class Question:
    """What a body asks, as far as it could be read; `faults` says what could not.

    `fields` are those asked for: the names of the claims, or the fields to fetch.
    """

    nik: str | None = None
    purpose: str | None = None
    fields: tuple[str, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    operator: str | None = None
    idempotency_key: str | None = None
    faults: list[Fault] = field(default_factory=list)


Asked = TypeVar("Asked")


@dataclass(slots=True)
class Call(Generic[Asked]):
    """One call under way. `access` and `decision` say afterwards what became of it."""

    access: Access
    credential: str | Proved | None
    read: Callable[[], Awaitable[Asked]]
    decision: Decision | None = None
    claim: Claim | None = None


def what_is_asked(question: Question) -> dict[str, object]:
    """All that the body said, to be compared with that of another attempt."""
    return {
        "nik": question.nik,
        "purpose": question.purpose,
        "claims": question.claims,
        # Of claims these are the names, in an order that says nothing.
        "fields": None if question.claims else question.fields,
        "reference": question.reference,
        "operator": question.operator,
    }

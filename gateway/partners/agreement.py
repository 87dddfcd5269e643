"""What an institution may ask, and when: pure, so that it can be read and proved.

Instants are microseconds since 1970 in UTC, by the server's clock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from gateway.problems import AgreementInactive, NotGranted
from gateway.vocabulary import (
    FIELD_BIT,
    GRANTABLE_OPERATIONS,
    RESIDENT_FIELDS,
    Limits,
    Shadow,
)

Status = Literal["active", "suspended"]
STATUSES: Final[tuple[Status, ...]] = ("active", "suspended")
OPERATION_BIT: Final = {word: 1 << n for n, word in enumerate(GRANTABLE_OPERATIONS)}


@dataclass(frozen=True, slots=True)
class Grant:
    """One purpose, with the operations and the fields allowed for it.

    `fields` are in the order of the contract; `name_similarity` is the share (0.5 to
    1) from which two names count as the same, and no caller can lower it.
    """

    purpose: str
    purpose_number: int
    operations: frozenset[str]
    fields: tuple[str, ...]
    name_similarity: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """A perjanjian kerja sama: from `from_at` (inclusive) to `to_at` (exclusive).

    `shadow` is limits that are counted beside its own and decide nothing.
    """

    id: int
    institution: int
    from_at: int
    to_at: int
    status: Status
    limits: Limits
    grants: Mapping[str, Grant]
    shadow: Shadow | None = None

    def covers(self, at: int) -> bool:
        return self.from_at <= at < self.to_at


def permit(
    agreement: Agreement | None,
    *,
    at: int,
    purpose: str,
    operations: Collection[str],
    fields: Iterable[str],
) -> Grant:
    """Return the grant that allows all of this, or refuse.

    Args:
        agreement: the one that applies, if the institution has any.
        at: the instant of the call.
        purpose: what the caller says it asks for.
        operations: all that the call needs: a batch needs `batch` and what it carries.
        fields: every field that would be compared or disclosed.

    Raises:
        AgreementInactive: there is none, or it is suspended, not begun or ended.
        NotGranted: the purpose, else an operation, else some fields lie outside it;
            the fields are named in the order of the contract.
    """
    if agreement is None or agreement.status != "active" or not agreement.covers(at):
        raise AgreementInactive
    grant = agreement.grants.get(purpose)
    if grant is None:
        raise NotGranted("purpose")
    if not grant.operations.issuperset(operations):
        raise NotGranted("operation")
    outside = set(fields).difference(grant.fields)
    if outside:
        named = tuple(field for field in RESIDENT_FIELDS if field in outside)
        raise NotGranted("fields", named)
    return grant


def applicable(agreements: Sequence[Agreement], at: int) -> Agreement | None:
    """Return the agreement an institution is held to at `at`.

    It is the newest of those that cover `at`, suspended or not: to suspend an
    agreement must never bring an older one back. If none covers it, the last to end.
    """
    covering = [agreement for agreement in agreements if agreement.covers(at)]
    if covering:
        return max(covering, key=lambda agreement: agreement.id)
    return max(agreements, key=lambda last: (last.to_at, last.id), default=None)


# Thousands of grants share a few shapes, so a directory holds each shape once.
@lru_cache(maxsize=4096)
def operations_of(bits: int) -> frozenset[str]:
    return frozenset(word for word, bit in OPERATION_BIT.items() if bits & bit)


@lru_cache(maxsize=4096)
def fields_of(bits: int) -> tuple[str, ...]:
    return tuple(field for field, bit in FIELD_BIT.items() if bits & bit)

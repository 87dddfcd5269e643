"""The kinds of things that an admin keeps: how each is found, told and entered."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from gateway.partners import documents, listing, proposals
from gateway.partners.agreement import Agreement
from gateway.partners.certificates import Certificate
from gateway.partners.documents import Document
from gateway.partners.listing import InstitutionRecord, KeyRecord, StaffRecord
from gateway.partners.proposals import Proposal
from gateway.vocabulary import Operation

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Kind(Generic[R]):
    """One kind. `name` is that of its list, `place` the number its list is in order by.

    `read` is what a look at it is entered as, `changed` what its changes are.
    """

    name: str
    read: Operation
    changed: tuple[Operation, ...]
    find: Callable[..., Awaitable[list[R]]]
    tell: Callable[[R], Document]
    place: Callable[[R], int]


INSTITUTIONS: Final[Kind[InstitutionRecord]] = Kind(
    "institutions",
    Operation.INSTITUTION_READ,
    (Operation.INSTITUTION_CREATE, Operation.INSTITUTION_RELEASE),
    listing.list_institutions,
    documents.of_institution,
    lambda one: one.id,
)
AGREEMENTS: Final[Kind[Agreement]] = Kind(
    "agreements",
    Operation.AGREEMENT_READ,
    (Operation.AGREEMENT_CREATE, Operation.AGREEMENT_CHANGE),
    listing.list_agreements,
    documents.of_agreement,
    lambda one: one.id,
)
KEYS: Final[Kind[KeyRecord]] = Kind(
    "keys",
    Operation.KEY_READ,
    (Operation.KEY_CREATE, Operation.KEY_REVOKE),
    listing.list_keys,
    documents.of_key,
    lambda one: one.number,
)
CERTIFICATES: Final[Kind[Certificate]] = Kind(
    "certificates",
    Operation.CERTIFICATE_READ,
    (Operation.CERTIFICATE_BIND, Operation.CERTIFICATE_UNBIND),
    listing.list_certificates,
    documents.of_certificate,
    lambda one: one.id,
)
STAFF: Final[Kind[StaffRecord]] = Kind(
    "staff",
    Operation.STAFF_READ,
    (
        *(Operation.STAFF_CREATE, Operation.STAFF_REVOKE),
        *(Operation.STAFF_BIND, Operation.STAFF_UNBIND),
    ),
    listing.list_staff,
    documents.of_staff,
    lambda one: one.id,
)
PROPOSALS: Final[Kind[Proposal]] = Kind(
    "proposals",
    Operation.PROPOSAL_READ,
    (Operation.PROPOSAL_APPROVE, Operation.PROPOSAL_REJECT),
    proposals.list_proposals,
    proposals.tell,
    lambda one: one.id,
)
CHANGED: Final[Mapping[Operation, Kind[Any]]] = {
    operation: kind
    for kind in (INSTITUTIONS, AGREEMENTS, KEYS, CERTIFICATES, STAFF, PROPOSALS)
    for operation in kind.changed
}

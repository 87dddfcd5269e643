"""Changes that wait for a second admin, and what that one said (decision 43).

A change is tried, and what it made of things judged, in the transaction that would
keep it: where it lets somebody do more and nobody has approved it, it is undone and
becomes a proposal. Who asked asks again once it is approved, word for word, and then
it is carried out: if what it was judged by is still the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.clock import from_datetime, to_text
from gateway.partners import documents, listing, terms, widening
from gateway.partners.agreement import Agreement
from gateway.partners.documents import Document
from gateway.partners.listing import Part, StaffRecord
from gateway.postgres import Connection, queries
from gateway.problems import NotApproved, NotFound
from gateway.vocabulary import Actor, Operation

# A proposal waits for so long, and an approval is good for so long.
GOOD_FOR: Final = timedelta(days=1)
LISTED: Final = 2 * GOOD_FOR
JUDGED: Final = frozenset(
    {
        Operation.AGREEMENT_CREATE,
        Operation.AGREEMENT_CHANGE,
        Operation.KEY_CREATE,
        Operation.STAFF_CREATE,
        Operation.STAFF_BIND,
    }
)
WAITS: Final = "a second admin has to approve this; then ask again"
OVERTAKEN: Final = "what it rests on has changed since it was approved; it waits for a second admin again"
REJECTED: Final = "a second admin has rejected this; with another reason it waits anew"
OWN: Final = "somebody else has to approve it"
SPOKEN: Final = "it waits no longer"
_OF_ITS_MAKING: Final = frozenset({"id", "token_id", "created_at"})
_ALL: Final = Part()
_SQL: Final = queries("gateway.partners")


@dataclass(frozen=True, slots=True)
class Wish:
    """A change that an admin asks for, where a second one may be needed.

    `target` is the id in the path, `asked` all else of the call, `by` the member of
    staff, `above` how many units a day may be agreed upon without a second.
    """

    operation: Operation
    target: str | None
    asked: Mapping[str, object]
    by: int
    above: int


@dataclass(frozen=True, slots=True)
class Tried:
    """A wish that was tried: the agreements it is judged by, and what came of it."""

    wish: Wish
    basis: Sequence[Agreement]
    became: object
    told: Document

    @property
    def needs_a_second(self) -> bool:
        above = self.wish.above
        match self.wish.operation, self.became:
            case Operation.AGREEMENT_CHANGE, Agreement() as became:
                return widening.widens(self.basis[0], became, above)
            case Operation.KEY_CREATE, _:
                return widening.discloses_much(self.basis, above)
            case Operation.STAFF_CREATE | Operation.STAFF_BIND, StaffRecord() as made:
                # Ops see figures; auditors and admins come to residents and keys. Whom
                # one of these is bound to is that member of staff from then on.
                return made.role != Actor.OPS.word
            case _:
                return True

    @property
    def before(self) -> list[Document]:
        return [documents.of_agreement(one) for one in self.basis]

    @property
    def after(self) -> Document:
        """What it would become, without what each making gives anew."""
        if self.wish.target is not None:
            return self.told
        return {n: what for n, what in self.told.items() if n not in _OF_ITS_MAKING}


class Held(Exception):
    """A change that nobody has approved: nothing of it may be kept.

    The text says why; `proposed` tells whether it waits already, or was rejected.
    """

    def __init__(self, why: str, tried: Tried, *, proposed: bool) -> None:
        super().__init__(why)
        self.tried = tried
        self.proposed = proposed


async def basis_of(connection: Connection, wish: Wish) -> list[Agreement]:
    """The agreements that a wish is judged by, locked: its own, or its institution's.

    Of an institution those that are not over. Empty for staff, and for what is not
    there: whoever does the work says so.
    """
    if wish.operation is Operation.AGREEMENT_CHANGE:
        number = terms.require_written_id(wish.target or "")
        if await connection.fetchrow(_SQL["lock_agreement"], number) is None:
            return []
        return await listing.list_agreements(connection, only=number)
    institution = wish.asked.get("institution")
    if type(institution) is not int or not 0 < institution <= terms.HIGHEST_ID:
        return []
    await connection.execute(_SQL["lock_institution"], institution)
    now = from_datetime(await connection.fetchval("SELECT clock_timestamp()"))
    held = await listing.list_agreements(connection, institution=institution)
    return [one for one in held if now < one.to_at]


async def approval(connection: Connection, tried: Tried) -> int | None:
    """The proposal on whose approval this may be kept; None: one admin is enough.

    Args:
        connection: in the transaction of the change, in which the approval is used.
        tried: the change as it was made there.

    Raises:
        Held: it needs an approval, and there is none for just this.
    """
    if not tried.needs_a_second:
        return None
    wish = tried.wish
    await connection.execute(_SQL["one_use_at_a_time"], wish.by)
    alike = await connection.fetch(
        *(_SQL["proposals_alike"], wish.by, wish.operation, wish.target),
        *(json.dumps(wish.asked), GOOD_FOR),
    )
    same = [row for row in alike if json.loads(row["basis"]) == tried.before]
    for row in same:
        if row["approved"]:
            number: int = row["id"]
            return number
    if same:
        why = WAITS if same[0]["approved"] is None else REJECTED
        raise Held(why, tried, proposed=True)
    overtaken = any(row["approved"] for row in alike)
    raise Held(OVERTAKEN if overtaken else WAITS, tried, proposed=False)


async def file(connection: Connection, held: Held) -> None:
    """What was held up waits for a second admin, if it does not do so already."""
    if held.proposed:
        return
    tried, wish = held.tried, held.tried.wish
    await connection.execute(
        *(_SQL["insert_proposal"], wish.by, wish.operation, wish.target),
        *map(json.dumps, (wish.asked, tried.before, tried.after)),
    )


async def give_verdict(
    connection: Connection, proposal: int, by: int, reason: str, *, approved: bool
) -> int:
    """Approve or reject a proposal, and return its id. Who asked may take it back.

    Raises:
        NotFound: there is no such proposal.
        NotApproved: it waits no longer, or is their own.
    """
    (found,) = await list_proposals(connection, only=proposal)
    if approved and found.asked_by == by:
        raise NotApproved(OWN)
    spoken = (proposal, by, approved, reason, GOOD_FOR)
    if await connection.fetchval(_SQL["insert_verdict"], *spoken) is None:
        raise NotApproved(SPOKEN)
    return proposal


@dataclass(frozen=True, slots=True)
class Verdict:
    by: int
    name: str
    at: int
    approved: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What waits, or waited. `state` is waiting, approved, rejected, done, or over.

    It is over if nobody spoke of it, or carried it out, in time.
    """

    id: int
    operation: Operation
    target: str | None
    asked: Document
    asked_by: int
    asker: str
    asked_at: int
    before: list[Document]
    after: Document
    state: str
    verdict: Verdict | None


async def list_proposals(
    connection: Connection, *, only: int | None = None, part: Part = _ALL
) -> list[Proposal]:
    """Those of the last two days in the order of their ids, or the one that is wanted.

    Raises:
        NotFound: there is none such.
    """
    wanted = None if only is None else terms.require_id(only)
    rows = await connection.fetch(_SQL["proposals"], wanted, *part, LISTED, GOOD_FOR)
    if wanted is not None and not rows:
        raise NotFound
    return list(map(_read, rows))


async def count_waiting(connection: Connection, by: int) -> int:
    """How many wait that this admin may approve."""
    number: int = await connection.fetchval(_SQL["count_proposals"], by, GOOD_FOR)
    return number


def _read(row: Any) -> Proposal:
    verdict = None
    if row["given_by"] is not None:
        spoken = (from_datetime(row["given_at"]), row["approved"], row["reason"])
        verdict = Verdict(row["given_by"], row["judge"], *spoken)
    return Proposal(
        id=row["id"],
        operation=Operation.numbered(row["operation"]),
        target=row["target"],
        asked=json.loads(row["asked"]),
        asked_by=row["asked_by"],
        asker=row["asker"],
        asked_at=from_datetime(row["asked_at"]),
        before=json.loads(row["basis"]),
        after=json.loads(row["after"]),
        state=row["state"],
        verdict=verdict,
    )


def tell(proposal: Proposal) -> Document:
    """As JSON has it."""
    said = proposal.verdict
    return {
        "id": proposal.id,
        "state": proposal.state,
        "operation": proposal.operation.word,
        "target": proposal.target,
        "asked": proposal.asked,
        "asked_by": {"id": proposal.asked_by, "name": proposal.asker},
        "asked_at": to_text(proposal.asked_at),
        "before": proposal.before,
        "after": proposal.after,
        "verdict": said
        and {
            "approved": said.approved,
            "by": {"id": said.by, "name": said.name},
            "at": to_text(said.at),
            "reason": said.reason,
        },
    }

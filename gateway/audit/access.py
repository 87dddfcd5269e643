"""What is known of one access while it is under way."""

from dataclasses import dataclass
from uuid import UUID

from gateway.audit.entry import Address, Entry, KeyName, PurposeName
from gateway.audit.idempotency import Attempt
from gateway.audit.subject import Subject
from gateway.vocabulary import CHARGED_OUTCOMES, Actor, Operation, Outcome, Reason


@dataclass(slots=True)
class Access:
    """What is known so far of one access; the journal makes its entry from it.

    `outcome` is set by whoever answers; `access_id` by the journal, once durable. A batch
    that is answered consists of `parts`, each an access of its own, and has a name of its
    own; one that is not is one access that counts for all. Where `proved` is false the
    secret of `key` was not given, or not the certificate that it needs: nothing may tell
    the caller that there is such a key.
    `certificate` is the SHA-256 of the caller's, where the connection has one: it is
    compared, and not entered.
    """

    operation: Operation
    address: Address | None
    actor: Actor = Actor.UNIDENTIFIED
    institution: int | None = None
    key: KeyName | None = None
    purpose: PurposeName | None = None
    fields: int | None = None
    subject: Subject | None = None
    reference: str | None = None
    operator: str | None = None
    attempt: Attempt | None = None
    replay_of: UUID | None = None
    at: int | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    access_id: str | None = None
    count: int = 1
    proved: bool = True
    parts: "list[Access] | None" = None
    certificate: bytes | None = None

    def part(self, reference: str, subject: Subject, fields: int) -> "Access":
        """One of its parts, that nobody has answered yet."""
        # Said name by name: dataclasses.replace takes five times as long.
        return Access(
            self.operation,
            self.address,
            actor=self.actor,
            institution=self.institution,
            key=self.key,
            purpose=self.purpose,
            fields=fields,
            subject=subject,
            reference=reference,
            operator=self.operator,
            replay_of=self.replay_of,
            at=self.at,
        )

    def entry(self, now: int) -> Entry:
        if self.outcome is None:
            msg = "an access ends with an outcome"
            raise RuntimeError(msg)
        return Entry(
            at=now if self.at is None else self.at,
            actor=self.actor,
            outcome=self.outcome,
            address=self.address,
            operation=self.operation,
            institution=self.institution,
            key=self.key,
            purpose=self.purpose,
            fields=self.fields,
            subject=self.subject,
            reason=self.reason,
            reference=self.reference,
            operator=self.operator,
            count=self.count,
            # What ends without an answer replays none.
            replay_of=self.replay_of if self.outcome in CHARGED_OUTCOMES else None,
            attempt=self.attempt,
        )

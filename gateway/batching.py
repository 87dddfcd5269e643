"""Batches: many questions in one call, admitted and answered together or not at all.

The policy of a call is lookup.py's; here it is that of a batch, whose answer is as many
accesses as it has items, and whose refusal is one that counts for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from gateway.audit.access import Access
from gateway.audit.entry import Place, access_id, batch_name, field_bits, place_of
from gateway.audit.subject import Subject
from gateway.calls import Call
from gateway.leisure import at_leisure
from gateway.lookup import Lookups
from gateway.partners.agreement import Agreement, Grant, applicable
from gateway.partners.directory import Institution, Key
from gateway.problems import Fault, InvalidRequest
from gateway.quota.harvest import Sight
from gateway.registry.matching import matches
from gateway.registry.resident import Resident
from gateway.vocabulary import Operation, Outcome, Reason

MOST_ITEMS: Final = 1_000
OPERATIONS: Final = {"verify": Operation.BATCH_VERIFY, "fetch": Operation.BATCH_FETCH}


@dataclass(slots=True)
class Item:
    """One question of a batch: `id` is the caller's name for it."""

    id: str
    nik: str
    fields: tuple[str, ...]
    claims: Mapping[str, str]


@dataclass(slots=True)
class Batch:
    """What a body asks, as far as it could be read; `faults` says what could not.

    `count` is how many items it has, well formed or not.
    """

    operation: str | None = None
    purpose: str | None = None
    items: list[Item] = field(default_factory=list)
    count: int = 1
    operator: str | None = None
    idempotency_key: str | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """Of one item: what a resident is, or which claims are so; None if nobody has the NIK."""

    id: str
    access: Access
    resident: dict[str, str | None] | None = None
    matches: dict[str, bool] | None = None


@dataclass(slots=True, frozen=True)
class Batches:
    """Answers batches, each whole."""

    lookups: Lookups

    async def answer(self, call: Call[Batch]) -> list[Answer]:
        """Of each item in its order. The call's `access_id` is the name of the batch."""
        held = self.lookups
        async with held.accounted(call):
            batch, key, agreement, grant = await self._permitted(call)
            await held.claim(
                call,
                agreement.institution,
                batch.idempotency_key,
                _what_is_asked(batch),
            )
            subjects = await subjects_of(held, batch.items)
            residents = await self._find(call, batch.items, subjects, key, agreement)
            name = batch_name(call.decision.at if call.decision else 0)
            whole = replace(call.access, reference=name)
            similarity = grant.name_similarity
            answering = (
                answer_item(whole, *one, similarity)
                for one in zip(batch.items, subjects, residents, strict=True)
            )
            answers = await at_leisure(answering, lasting=True)
            _remember(call.access, answers)
        call.access.access_id = name
        return answers

    async def _find(
        self,
        call: Call[Batch],
        items: Sequence[Item],
        subjects: Sequence[Subject],
        key: Key,
        agreement: Agreement,
    ) -> list[Resident | None]:
        """Whom they ask about, once all are admitted, and no guesses."""
        held, units = self.lookups, len(items)
        sights = await sights_of(held, items, subjects)
        await held.admit(
            call, key, agreement, rate_cost=units, units=units, sights=sights
        )
        residents = await held.residents.find_all([item.nik for item in items])
        held.learn(call, sights, [one is not None for one in residents])
        return residents

    async def _permitted(
        self, call: Call[Batch]
    ) -> tuple[Batch, Key, Agreement, Grant]:
        key, institution = self.lookups.caller(call)
        batch = await call.read()
        self._note(call.access, batch)
        self._check_burst(institution, batch)
        if batch.faults or batch.operation is None or batch.purpose is None:
            raise InvalidRequest(batch.faults)
        agreement, grant = await self.lookups.granted(
            (institution, key),
            batch.purpose,
            operations=("batch", batch.operation),
            fields={name for item in batch.items for name in item.fields},
        )
        return batch, key, agreement, grant

    def _note(self, access: Access, batch: Batch) -> None:
        if batch.operation is not None:
            access.operation = OPERATIONS[batch.operation]
        access.purpose = self.lookups.purpose_of(batch.purpose)
        access.operator, access.count = batch.operator, batch.count

    def _check_burst(self, institution: Institution, batch: Batch) -> None:
        """More could never be admitted, whatever the caller waits."""
        agreement = applicable(institution.agreements, self.lookups.clock.now())
        if agreement is not None and MOST_ITEMS >= batch.count > agreement.limits.burst:
            most = agreement.limits.burst
            batch.faults.append(
                Fault("/items", f"want no more items than the burst of {most}")
            )


async def subjects_of(held: Lookups, items: Sequence[Item]) -> list[Subject]:
    """How the log names whom they ask about."""
    return await at_leisure(held.subjects.reference(item.nik) for item in items)


async def sights_of(
    held: Lookups, items: Sequence[Item], subjects: Sequence[Subject]
) -> list[Sight]:
    """What is seen of questions that are admitted together."""
    return await at_leisure(
        held.harvesting.sight(item.nik, subject, item.claims)
        for item, subject in zip(items, subjects, strict=True)
    )


def answer_item(
    whole: Access,
    item: Item,
    subject: Subject,
    resident: Resident | None,
    name_similarity: float,
) -> Answer:
    """What one item is answered, and its access: a part of the whole, named within it."""
    named, fields = f"{whole.reference}/{item.id}", field_bits(item.fields)
    part = whole.part(named, subject, fields)
    answer = Answer(item.id, part)
    if resident is None:
        part.outcome = Outcome.NOT_FOUND
        if not item.claims:
            part.reason = Reason.RESIDENT_NOT_FOUND
    elif item.claims:
        answer.matches = matches(resident, item.claims, name_similarity)
        all_so = all(answer.matches.values())
        part.outcome = Outcome.MATCHED if all_so else Outcome.MISMATCHED
    else:
        answer.resident = resident.project(item.fields)
        part.outcome = Outcome.DISCLOSED
    return answer


def _remember(whole: Access, answers: list[Answer]) -> None:
    """The accesses that the journal is to enter; an idempotency key goes with the first.

    The entries of a batch stand beside each other, so that the first of a batch which
    was answered before names all of them.
    """
    whole.outcome = Outcome.DONE
    whole.parts = [answer.access for answer in answers]
    whole.parts[0].attempt = whole.attempt
    first = place_of(str(whole.replay_of)) if whole.replay_of else None
    if first is not None:
        for number, part in enumerate(whole.parts):
            place = Place(first.batch, first.position + number)
            part.replay_of = UUID(access_id(place))


def _what_is_asked(batch: Batch) -> dict[str, object]:
    """All that the body said, to be compared with that of another attempt."""
    return {
        "purpose": batch.purpose,
        "operator": batch.operator,
        "items": [
            (item.id, item.nik, item.claims or list(item.fields))
            for item in batch.items
        ],
    }

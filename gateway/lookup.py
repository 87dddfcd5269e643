"""THE HOT PATH: the whole policy of a call, top to bottom.

    identify  →  permit  →  claim  →  admit  →  find  →  record  →  answer

The first check that fails answers. Only admission spends limits. Only calls with an
idempotency key are claimed. Nothing is released before the access's entry is durable:
`accounted` sees to it on every way out. There is no HTTP, SQL or Redis here.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.accounting import Accounted
from gateway.audit.access import Access
from gateway.audit.claims import Claim, Claims
from gateway.audit.entry import KeyName, PurposeName, field_bits, parsed
from gateway.audit.idempotency import Attempts
from gateway.audit.journal import Journal
from gateway.audit.own_entries import OwnEntries
from gateway.audit.sealed import Receipt, SealedLog
from gateway.audit.subject import SubjectKeys
from gateway.calls import Call, Question, what_is_asked
from gateway.clock import SECOND, ServerClock
from gateway.harvesting import HARVESTING, Harvesting, held_to, step_of
from gateway.partners.agreement import Agreement, Grant, applicable, permit
from gateway.partners.directory import Directory, Institution, Key
from gateway.partners.keys import Proved
from gateway.problems import (
    AbnormalUsage,
    AddressNotAllowed,
    AgreementInactive,
    AuditUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotGranted,
    QuotaExceeded,
    ReducedCapacity,
    ResidentNotFound,
    Unauthenticated,
)
from gateway.quota.harvest import Sight
from gateway.quota.limit import Decision
from gateway.quota.limiter import Limiter
from gateway.quota.script import Watch
from gateway.registry.matching import matches
from gateway.registry.resident import Resident
from gateway.registry.residents import Residents
from gateway.vocabulary import Actor, Limits, Outcome, Step

REFUSALS_A_MINUTE: Final = 120
# What an institution without any agreement may spend on asking about its account.
NO_AGREEMENT: Final = Limits(rate=1, burst=5, day=1, month=1)


@dataclass(slots=True, frozen=True)
class Permitted:
    """A question that its caller may ask."""

    institution: int
    key: Key
    agreement: Agreement
    grant: Grant
    question: Question
    nik: str


@dataclass(slots=True, frozen=True)
class Account:
    """What an institution may know of itself."""

    institution: Institution
    key: Key
    agreement: Agreement | None
    decision: Decision


def identify(
    directory: Directory, access: Access, credential: str | Proved | None, now: int
) -> Key:
    """Who is asking; noted on the access, whatever comes of it."""
    directory.check_fresh()
    try:
        key = directory.identify(credential, now)
    except Unauthenticated as refusal:
        if refusal.key is not None:
            access.key = KeyName(refusal.key, directory.key_of(refusal.key).id)
        access.proved = refusal.proved
        raise
    access.key = KeyName(key.number, key.id)
    access.institution = key.institution
    access.actor = key.staff.role if key.staff else Actor.INSTITUTION
    # Whoever stole a key is not to learn that it is right: until then nothing tells.
    access.proved = False
    directory.check_certificate(key, access.certificate, now)
    access.proved = True
    if key.networks and not (access.address and key.admits(parsed(access.address))):
        raise AddressNotAllowed
    return key


@dataclass(slots=True, frozen=True)
class Lookups:
    """Answers institutions' questions. Each method is one call, whole."""

    directory: Directory
    limiter: Limiter
    residents: Residents
    journal: Journal
    subjects: SubjectKeys
    own_entries: OwnEntries
    sealed: SealedLog
    attempts: Attempts
    claims: Claims
    harvesting: Harvesting
    clock: ServerClock

    async def verify(self, call: Call[Question]) -> dict[str, bool] | None:
        """Which claims are so; None where nobody has the NIK."""
        async with self.accounted(call):
            asked = await self._permitted(call, "verify")
            resident = await self._find(call, asked)
            if resident is None:
                call.access.outcome = Outcome.NOT_FOUND
                return None
            floor = asked.grant.name_similarity
            matched = matches(resident, asked.question.claims, floor)
            all_so = all(matched.values())
            call.access.outcome = Outcome.MATCHED if all_so else Outcome.MISMATCHED
            return matched

    async def fetch(self, call: Call[Question]) -> dict[str, str | None]:
        """The granted fields that were asked for.

        Raises:
            ResidentNotFound: nobody has the NIK; it is charged all the same.
        """
        async with self.accounted(call):
            asked = await self._permitted(call, "fetch")
            resident = await self._find(call, asked)
            if resident is None:
                raise ResidentNotFound
            call.access.outcome = Outcome.DISCLOSED
            return resident.project(asked.question.fields)

    async def _find(self, call: Call[Question], asked: Permitted) -> Resident | None:
        """Whom it asks about, once it is claimed and admitted, and no guess."""
        question, nik = asked.question, asked.nik
        what = what_is_asked(question)
        await self.claim(call, asked.institution, question.idempotency_key, what)
        subject = call.access.subject or self.subjects.reference(nik)
        sights = (self.harvesting.sight(nik, subject, question.claims),)
        await self.admit(call, asked.key, asked.agreement, sights=sights)
        resident = await self.residents.find(nik)
        self.learn(call, sights, (resident is not None,))
        return resident

    def learn(
        self, call: Call[Any], sights: Sequence[Sight], found: Sequence[bool]
    ) -> None:
        """What became of the sights of an admitted call, before it is answered.

        Raises:
            AbnormalUsage: they are too many guesses.
        """
        institution = self._institution(call.access.institution)
        held = self.harvesting
        held.learn(institution, call.access, call.decision, sights, found)

    async def account(self, call: Call[Question]) -> Account:
        """The caller's own agreement and limits: a unit of rate, none of quota."""
        async with self.accounted(call):
            account = await self.of_its_own(call)
            call.access.outcome = Outcome.DONE
            return account

    async def receipt(self, call: Call[Question], access_id: str) -> Receipt | None:
        """Proof that one of the caller's own accesses is in the log.

        None until it is sealed. It costs what the account costs.

        Raises:
            NotFound: there is no such access, or it is another institution's.
        """
        async with self.accounted(call):
            account = await self.of_its_own(call)
            found = await self.own_entries.entry(access_id, account.institution.id)
            if found is None:
                raise NotFound
            receipt = await self.sealed.receipt(found)
            call.access.outcome = Outcome.DONE
            return receipt

    async def of_its_own(self, call: Call[Question]) -> Account:
        """Who asks about what is his: a unit of rate, none of quota."""
        key, institution = self.caller(call)
        question = await call.read()
        if question.faults:
            raise InvalidRequest(question.faults)
        agreement = applicable(institution.agreements, self.clock.now())
        decision = await self._spend(call, institution, key, agreement, (1, 0))
        return Account(institution, key, agreement, decision)

    def accounted(self, call: Call[Any]) -> Accounted:
        """Exactly one entry, and a charge only where the entry says so."""
        return Accounted(call, self.journal.recording(call.access), self)

    async def undo(self, call: Call[Any], error: BaseException) -> None:
        """What a call spent and claimed, unless it is answered."""
        if not _is_an_answer(error):
            await self._give_back(call)
            await self._release(call, error)

    async def _give_back(self, call: Call[Any]) -> None:
        spent, institution = call.decision, call.access.institution
        if institution is None or spent is None or not spent.admitted:
            return
        if spent.rate_cost:
            given_back = await self.limiter.give_back(institution, spent)
            call.decision = given_back or spent

    async def _release(self, call: Call[Any], error: BaseException) -> None:
        """Before the caller hears of it: a refused or failed attempt is not remembered."""
        if call.claim is not None and not isinstance(error, AuditUnavailable):
            await self.claims.release(call.claim)

    def caller(self, call: Call[Any]) -> tuple[Key, Institution]:
        now = self.clock.now()
        key = identify(self.directory, call.access, call.credential, now)
        if key.institution is None:
            raise Forbidden
        return key, self._institution(key.institution)

    def _institution(self, number: int | None) -> Institution:
        institution = None if number is None else self.directory.institution(number)
        if institution is None:
            raise ReducedCapacity
        return institution

    async def _permitted(self, call: Call[Question], operation: str) -> Permitted:
        key, institution = self.caller(call)
        question = await call.read()
        self._note(call.access, question)
        if question.faults or question.nik is None or question.purpose is None:
            raise InvalidRequest(question.faults)
        agreement, grant = await self.granted(
            (institution, key),
            question.purpose,
            operations=(operation,),
            fields=question.fields,
        )
        return Permitted(institution.id, key, agreement, grant, question, question.nik)

    async def granted(
        self,
        caller: tuple[Institution, Key],
        purpose: str,
        *,
        operations: Collection[str],
        fields: Iterable[str],
    ) -> tuple[Agreement, Grant]:
        """The agreement that is in force, and its grant of all of this."""
        institution, key = caller
        now = self.clock.now()
        agreement = applicable(institution.agreements, now)
        try:
            grant = permit(
                agreement, at=now, purpose=purpose, operations=operations, fields=fields
            )
        except (AgreementInactive, NotGranted):
            await self._count_refusal(institution.id, key.number)
            raise
        if agreement is None:
            raise AgreementInactive
        return agreement, grant

    def _note(self, access: Access, question: Question) -> None:
        """What was asked goes into the entry, refused or not."""
        if question.nik is not None:
            access.subject = self.subjects.reference(question.nik)
        access.purpose = self.purpose_of(question.purpose)
        access.fields = field_bits(question.fields) or None
        access.reference, access.operator = question.reference, question.operator

    def purpose_of(self, purpose: str | None) -> PurposeName | None:
        """As entries name it; None for one that was not told, or that nobody knows."""
        number = None if purpose is None else self.directory.purpose_number(purpose)
        return PurposeName(number, purpose) if number and purpose else None

    async def count_abnormal(self, access: Access) -> None:
        """Who guesses is refused for it, and for collecting too many such refusals."""
        if access.institution is not None and access.key is not None:
            await self._count_refusal(access.institution, access.key.number)

    async def _count_refusal(self, institution: int, key: int) -> None:
        """A key that collects too many of these is refused for the rest of the minute."""
        try:
            count = await self.limiter.count_refusal(institution, key)
        except ReducedCapacity:
            # Uncounted, the refusal stands and is entered singly.
            return
        if count > REFUSALS_A_MINUTE:
            rest = 60 - self.clock.now() // SECOND % 60
            raise QuotaExceeded(("refusals",), rest)

    async def claim(
        self,
        call: Call[Any],
        institution: int,
        idempotency_key: str | None,
        asked: dict[str, object],
    ) -> None:
        """Nobody else answers this key meanwhile; or it was answered, and this is a replay."""
        if idempotency_key is None:
            return
        access = call.access
        asked["operation"] = access.operation.word
        access.attempt = self.attempts.of(institution, idempotency_key, asked)
        first = await self.claims.claim(access.attempt)
        if isinstance(first, Claim):
            call.claim = first
        else:
            access.replay_of = first

    async def admit(
        self,
        call: Call[Any],
        key: Key,
        agreement: Agreement,
        *,
        rate_cost: int = 1,
        units: int = 1,
        sights: Sequence[Sight] = (),
    ) -> None:
        """Spends from the limits, all units or none; of a replay the rate alone.

        `sights` are what is asked about whom. Who is stopped spends nothing.

        Raises:
            AbnormalUsage: the institution is stopped, or guesses.
        """
        institution = self._institution(agreement.institution)
        quota_cost = 0 if call.access.replay_of else units
        costs = (rate_cost, quota_cost)
        if step_of(institution, self.clock.now()) is Step.STOP:
            await self._spend(call, institution, key, agreement, (0, 0))
            raise AbnormalUsage(HARVESTING)
        watch = self.harvesting.watch(institution, sights) if sights else None
        decision = await self._spend(
            call, institution, key, agreement, costs, watch=watch
        )
        at = decision.at
        # The instant of admission decides, not the one at which the call came in.
        if key.not_after is not None and at >= key.not_after:
            raise Unauthenticated(key.number)
        if not agreement.from_at <= at < agreement.to_at:
            raise AgreementInactive
        self.harvesting.check(institution, call.access, decision)

    async def _spend(
        self,
        call: Call[Any],
        institution: Institution,
        key: Key,
        agreement: Agreement | None,
        costs: tuple[int, int],
        *,
        watch: Watch | None = None,
    ) -> Decision:
        rate_cost, quota_cost = costs
        limits = agreement.limits if agreement else NO_AGREEMENT
        decision = await self.limiter.admit(
            institution.id,
            key.number,
            held_to(institution, limits, self.clock.now()),
            rate_cost=rate_cost,
            quota_cost=quota_cost,
            shadow=agreement.shadow if agreement else None,
            watch=watch,
        )
        call.decision, call.access.at = decision, decision.at
        if not decision.admitted:
            raise QuotaExceeded(decision.violated, decision.retry_after)
        return decision


def _is_an_answer(error: BaseException) -> bool:
    """Whether it keeps its charge and claim; so too where only the log can tell."""
    if isinstance(error, AuditUnavailable):
        return error.fate_unknown
    answers = (ResidentNotFound, NotFound)
    return isinstance(error, answers)

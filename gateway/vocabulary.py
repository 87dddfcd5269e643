"""The words of the contract, each with the number it is stored under.

A number, once used, keeps its meaning for ever: rows written years ago are read
with this file. Add at the end; never renumber, never reuse.
"""

from enum import IntEnum, unique
from typing import Final, NamedTuple, Self

RESIDENT_FIELDS: Final = (
    "nik",
    "kk",
    "name",
    "birth_place",
    "birth_date",
    "sex",
    "blood_type",
    "religion",
    "marital_status",
    "family_role",
    "education",
    "occupation",
    "mother_name",
    "father_name",
    "address",
    "rt",
    "rw",
    "village",
    "district",
    "regency",
    "province",
    "postal_code",
)
FIELD_BIT: Final = {field: 1 << place for place, field in enumerate(RESIDENT_FIELDS)}
NAME_FIELDS: Final = frozenset({"name", "mother_name", "father_name"})
GRANTABLE_OPERATIONS: Final = ("verify", "fetch", "batch")


class Limits(NamedTuple):
    """What an agreement allows its institution.

    `rate` calls a second (sustained), `burst` calls at once, `day` and `month` units
    of quota a calendar day and month of Asia/Jakarta.
    """

    rate: int
    burst: int
    day: int
    month: int


class Shadow(NamedTuple):
    """Limits that are counted beside the real ones and decide nothing.

    `since` is the instant at which they were set: it tells one shadow from another.
    """

    limits: Limits
    since: int


class Word(IntEnum):
    """A stored number and the word that stands for it outside."""

    word: str

    def __new__(cls, number: int, word: str) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.word = word
        return member

    @classmethod
    def numbered(cls, number: int) -> Self:
        """The member a row's number stands for."""
        return cls(number)  # type: ignore[call-arg]  # mypy asks for what __new__ takes

    @classmethod
    def worded(cls, word: str) -> Self | None:
        return next((member for member in cls if member.word == word), None)


@unique
class Actor(Word):
    INSTITUTION = 1, "institution"
    AUDITOR = 2, "auditor"
    OPS = 3, "ops"
    ADMIN = 4, "admin"
    UNIDENTIFIED = 5, "unidentified"


STAFF_ROLES: Final = (Actor.AUDITOR, Actor.OPS, Actor.ADMIN)


@unique
class Operation(Word):
    """What was asked; listed for readers in docs/audit-log.md."""

    VERIFY = 1, "verify"
    FETCH = 2, "fetch"
    ACCOUNT = 3, "account"
    RECEIPT = 4, "receipt"
    BATCH_VERIFY = 5, "batch.verify"
    BATCH_FETCH = 6, "batch.fetch"
    BATCH = 7, "batch"
    JOB_SUBMIT = 8, "job.submit"
    JOB_READ = 9, "job.read"
    JOB_ANSWERS = 10, "job.answers"
    JOB_CANCEL = 11, "job.cancel"
    ACCOUNT_ENTRIES = 12, "account.entries"
    AUDIT_SEARCH = 20, "audit.search"
    AUDIT_SUBJECT_SEARCH = 21, "audit.subject-search"
    AUDIT_ENTRY = 22, "audit.entry"
    AUDIT_PROOF = 23, "audit.proof"
    AUDIT_EXPORT = 24, "audit.export"
    AUDIT_SUMMARY = 25, "audit.summary"
    AUDIT_ARCHIVE = 26, "audit.archive"
    AUDIT_EXPIRE = 27, "audit.expire"
    AUDIT_HOLD = 28, "audit.hold"
    AUDIT_RELEASE = 29, "audit.release"
    AUDIT_APPROVALS = 30, "audit.approvals"
    AUDIT_APPROVE = 31, "audit.approve"
    INSTITUTION_CREATE = 40, "institution.create"
    AGREEMENT_CREATE = 41, "agreement.create"
    AGREEMENT_CHANGE = 42, "agreement.change"
    KEY_CREATE = 43, "key.create"
    KEY_REVOKE = 44, "key.revoke"
    STAFF_CREATE = 45, "staff.create"
    STAFF_REVOKE = 46, "staff.revoke"
    INSTITUTION_READ = 47, "institution.read"
    AGREEMENT_READ = 48, "agreement.read"
    KEY_READ = 49, "key.read"
    STAFF_READ = 50, "staff.read"
    LIMITS_REHEARSE = 51, "limits.rehearse"
    CERTIFICATE_BIND = 52, "certificate.bind"
    CERTIFICATE_UNBIND = 53, "certificate.unbind"
    CERTIFICATE_READ = 54, "certificate.read"
    STAFF_BIND = 55, "staff.bind"
    STAFF_UNBIND = 56, "staff.unbind"
    OPS_JOURNAL = 60, "ops.journal"
    OPS_LIMITS = 61, "ops.limits"
    OPS_LIVE = 62, "ops.live"
    PROPOSAL_READ = 65, "proposal.read"
    PROPOSAL_APPROVE = 66, "proposal.approve"
    PROPOSAL_REJECT = 67, "proposal.reject"
    CONSOLE_SIGN_IN = 70, "console.sign-in"
    CONSOLE_SIGN_OUT = 71, "console.sign-out"
    CONSOLE_PAGE = 72, "console.page"
    INSTITUTION_RELEASE = 80, "institution.release"
    HARVEST_ALERT = 81, "harvest.alert"
    HARVEST_SLOW = 82, "harvest.slow"
    HARVEST_STOP = 83, "harvest.stop"


@unique
class Step(Word):
    """What is done about an institution that seems to harvest; each includes those below."""

    NONE = 0, "none"
    ALERT = 1, "alert"
    SLOW = 2, "slow"
    STOP = 3, "stop"


@unique
class Rule(Word):
    """Why a step was taken."""

    SCAN = 1, "scan"
    MISSES_ALIKE = 2, "misses-alike"
    CANARY = 3, "canary"
    GROWTH = 4, "growth"


class Precaution(NamedTuple):
    """The last step that was taken about an institution, `at` an instant, by a `rule`.

    `since` is when a person last let it go, 0 if nobody has.
    """

    step: Step = Step.NONE
    rule: Rule | None = None
    at: int = 0
    since: int = 0


@unique
class Outcome(Word):
    MATCHED = 1, "matched"
    MISMATCHED = 2, "mismatched"
    DISCLOSED = 3, "disclosed"
    NOT_FOUND = 4, "not_found"
    REFUSED = 5, "refused"
    FAILED = 6, "failed"
    DONE = 7, "done"


CHARGED_OUTCOMES: Final = frozenset(
    {Outcome.MATCHED, Outcome.MISMATCHED, Outcome.DISCLOSED, Outcome.NOT_FOUND}
)


@unique
class Reason(Word):
    """Why there was no plain answer: the slug of the problem that was sent."""

    UNAUTHENTICATED = 1, "unauthenticated"
    FORBIDDEN = 2, "forbidden"
    ADDRESS_NOT_ALLOWED = 3, "address-not-allowed"
    AGREEMENT_INACTIVE = 4, "agreement-inactive"
    NOT_GRANTED = 5, "not-granted"
    INVALID_REQUEST = 6, "invalid-request"
    RESIDENT_NOT_FOUND = 7, "resident-not-found"
    IDEMPOTENCY_CONFLICT = 8, "idempotency-conflict"
    QUOTA_EXCEEDED = 9, "quota-exceeded"
    ABNORMAL_USAGE_DETECTED = 10, "abnormal-usage-detected"
    TEMPORARY_REDUCED_CAPACITY = 11, "temporary-reduced-capacity"
    AUDIT_UNAVAILABLE = 12, "audit-unavailable"
    REGISTRY_UNAVAILABLE = 13, "registry-unavailable"
    NOT_FOUND = 14, "not-found"
    METHOD_NOT_ALLOWED = 15, "method-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = 16, "unsupported-media-type"
    PAYLOAD_TOO_LARGE = 17, "payload-too-large"
    INTERNAL_ERROR = 18, "internal-error"
    ARCHIVE_UNAVAILABLE = 30, "archive-unavailable"
    ENTRIES_EXPIRED = 31, "entries-expired"
    REQUEST_TIMEOUT = 32, "request-timeout"

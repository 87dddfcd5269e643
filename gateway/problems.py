"""Every way a call can end without its answer. None of these knows HTTP.

    Problem
    ├── Refusal                     a check said no; outcome "refused"
    │   ├── Unauthenticated  Forbidden  AddressNotAllowed
    │   ├── AgreementInactive  NotGranted  InvalidRequest
    │   ├── UnsupportedMediaType  PayloadTooLarge  RequestTimeout  MethodNotAllowed
    │   ├── QuotaExceeded  AbnormalUsage  NotFound  EntriesExpired
    │   ├── IdempotencyConflict: KeyReused  KeyInProgress
    ├── ResidentNotFound            the registry was asked and has nobody; charged
    └── Failure                     we could not; outcome "failed"
        ├── ReducedCapacity  RegistryUnavailable  AuditUnavailable
        └── ArchiveUnavailable  InternalError

`gateway/edge/rendering.py` alone turns them into RFC 9457 documents.
"""

from dataclasses import dataclass
from typing import ClassVar

from gateway.vocabulary import Outcome, Reason


class Problem(Exception):
    """The call ends here; its entry carries `reason` and `outcome`."""

    reason: ClassVar[Reason]
    outcome: ClassVar[Outcome]


class Refusal(Problem):
    """A check said no."""

    outcome = Outcome.REFUSED


class Failure(Problem):
    """The gateway could not do its part; nothing is charged."""

    outcome = Outcome.FAILED


class ResidentNotFound(Problem):
    """Nobody has this NIK. An answer like any other: entered, and charged."""

    reason = Reason.RESIDENT_NOT_FOUND
    outcome = Outcome.NOT_FOUND


class Unauthenticated(Refusal):
    """Missing, malformed, unknown, expired or revoked: the caller is not told which.

    `key` is the number of the key that was named, where there is one: for the entry.
    `proved` is whether its secret was given: who has that knows that there is such a key.
    """

    reason = Reason.UNAUTHENTICATED

    def __init__(self, key: int | None = None, *, proved: bool = False) -> None:
        super().__init__("no valid credential")
        self.key = key
        self.proved = proved


class Forbidden(Refusal):
    """A valid credential of the wrong kind or role."""

    reason = Reason.FORBIDDEN


class NotApproved(Refusal):
    """What somebody else of staff has to approve first. The text is one sentence on it."""

    reason = Reason.FORBIDDEN


class AddressNotAllowed(Refusal):
    """The key's allow list does not hold the caller's address."""

    reason = Reason.ADDRESS_NOT_ALLOWED


class AgreementInactive(Refusal):
    """Not begun, ended or suspended."""

    reason = Reason.AGREEMENT_INACTIVE


class NotGranted(Refusal):
    """The purpose, the operation or some fields lie outside the grant."""

    reason = Reason.NOT_GRANTED

    def __init__(self, what: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request.

    `pointer` is an RFC 6901 JSON pointer into the body, `?name` for a query parameter,
    or `/headers/name`, as no body has such a member; `detail` says what is wanted and
    never repeats what was sent.
    """

    pointer: str
    detail: str


class InvalidRequest(Refusal):
    """Everything wrong with the request at once."""

    reason = Reason.INVALID_REQUEST

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("the request is not valid")
        self.faults = faults


class UnsupportedMediaType(Refusal):
    """The body is not declared as what the route reads."""

    reason = Reason.UNSUPPORTED_MEDIA_TYPE


class PayloadTooLarge(Refusal):
    """The body is longer than the route reads."""

    reason = Reason.PAYLOAD_TOO_LARGE


class RequestTimeout(Refusal):
    """The body did not come in the time that it has."""

    reason = Reason.REQUEST_TIMEOUT


class MethodNotAllowed(Refusal):
    """The path is a route, the method is not."""

    reason = Reason.METHOD_NOT_ALLOWED

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("method not allowed")
        self.allowed = allowed


class NotFound(Refusal):
    """No such thing, or not yours: the two answer alike."""

    reason = Reason.NOT_FOUND


class EntriesExpired(Refusal):
    """What is asked for needs entries that are kept no longer. The text says of which days."""

    reason = Reason.ENTRIES_EXPIRED


class IdempotencyConflict(Refusal):
    """The idempotency key is not this question's to use now."""

    reason = Reason.IDEMPOTENCY_CONFLICT


class KeyReused(IdempotencyConflict):
    """It came with another body before."""

    def __init__(self) -> None:
        super().__init__("the key came with another body")


class KeyInProgress(IdempotencyConflict):
    """The same question is being answered, for `retry_after` more seconds at most."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the key is in progress")
        self.retry_after = retry_after


class QuotaExceeded(Refusal):
    """Admission said no; the decision, where there is one, says on which policy."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(self, violated: tuple[str, ...], retry_after: int) -> None:
        super().__init__("quota exceeded")
        self.violated = violated
        self.retry_after = retry_after


class AbnormalUsage(Refusal):
    """It looks as if NIKs or claims were guessed. The text is one sentence saying which.

    `retry_after` is in how many seconds it may be asked again; None where that is for a
    person to say.
    """

    reason = Reason.ABNORMAL_USAGE_DETECTED

    def __init__(self, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ReducedCapacity(Failure):
    """Limits, or who may do what, cannot be told safely now.

    `retry_after` is in how many seconds they can, where that is known.
    """

    reason = Reason.TEMPORARY_REDUCED_CAPACITY

    def __init__(self, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class RegistryUnavailable(Failure):
    """The registry did not answer in time; what was charged is given back."""

    reason = Reason.REGISTRY_UNAVAILABLE


class AuditUnavailable(Failure):
    """The entry could not be made durable; nothing may be released.

    `fate_unknown` is true where the entry may yet turn out to be committed: then
    its charge stays, and the log decides.
    """

    reason = Reason.AUDIT_UNAVAILABLE

    def __init__(self, *, fate_unknown: bool) -> None:
        super().__init__("the audit log is not available")
        self.fate_unknown = fate_unknown


class ArchiveUnavailable(Failure):
    """Archived entries cannot be read now. The text is one sentence saying why."""

    reason = Reason.ARCHIVE_UNAVAILABLE


class InternalError(Failure):
    """A fault of ours that nothing above foresaw."""

    reason = Reason.INTERNAL_ERROR


class CallerGone(Exception):
    """The connection ended before the body did: nobody's refusal, and no fault of ours."""

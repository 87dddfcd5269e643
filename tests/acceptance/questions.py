"""Calls as their makers know them, and the entry that each must leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.audit.subject import SubjectKeys
from gateway.registry.resident import Resident
from gateway.vocabulary import RESIDENT_FIELDS
from tests.acceptance.callers import Caller
from tests.acceptance.wire import Answer, Connection

UNKNOWN_NIK: Final = "9999999999999999"
_OUTCOMES: Final = {4: "refused", 5: "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call to make. What `json` holds is repeated where the entry is to show it."""

    method: str
    target: str
    operation: str
    caller: Caller | None
    json: Mapping[str, Any] | None = None
    nik: str | None = None
    purpose: str | None = None
    fields: Sequence[str] = ()
    reference: str | None = None

    async def put(self, connection: Connection) -> Answer:
        key = None if self.caller is None else self.caller.key
        return await connection.ask(self.method, self.target, key=key, json=self.json)


def verify(
    caller: Caller | None,
    nik: str,
    claims: Mapping[str, str],
    *,
    purpose: str = "treatment",
    reference: str | None = None,
) -> Question:
    body = {"nik": nik, "purpose": purpose, "claims": claims, "reference": reference}
    return Question(
        method="POST",
        target="/v1/verify",
        operation="verify",
        caller=caller,
        json=body,
        nik=nik,
        purpose=purpose,
        fields=tuple(claims),
        reference=reference,
    )


def fetch(
    caller: Caller | None,
    nik: str,
    fields: Sequence[str],
    *,
    purpose: str = "treatment",
    reference: str | None = None,
) -> Question:
    body = {"nik": nik, "purpose": purpose, "fields": fields, "reference": reference}
    return Question(
        method="POST",
        target="/v1/fetch",
        operation="fetch",
        caller=caller,
        json=body,
        nik=nik,
        purpose=purpose,
        fields=tuple(fields),
        reference=reference,
    )


def account(caller: Caller | None) -> Question:
    return Question(
        method="GET", target="/v1/account", operation="account", caller=caller
    )


def true_claims(resident: Resident, *fields: str) -> dict[str, str]:
    """What the registry itself holds of these fields, where it holds anything."""
    held = {field: resident[field] for field in fields}
    return {field: value for field, value in held.items() if value is not None}


def nik_of(resident: Resident) -> str:
    nik = resident["nik"]
    assert nik is not None
    return nik


def entry_of(
    question: Question, answer: Answer, subjects: SubjectKeys
) -> dict[str, Any]:
    """The members of its entry that this answer to this question settles."""
    outcome, reason = _outcome(question, answer)
    charged = outcome in {"matched", "mismatched", "disclosed", "not_found"}
    expected: dict[str, Any] = {
        "access_id": answer.access_id,
        "operation": question.operation,
        "outcome": outcome,
        "reason": reason,
        "charged": int(charged),
        "count": 1,
        "replay_of": None,
    }
    if reason == "unauthenticated":
        # Nothing that an unidentified caller sent is read.
        nobody = ("institution", "purpose", "fields", "subject", "reference")
        return expected | dict.fromkeys(nobody) | {"actor": "unidentified"}
    assert question.caller is not None
    subject = None if question.nik is None else subjects.reference(question.nik).text
    fields = [field for field in RESIDENT_FIELDS if field in question.fields]
    return expected | {
        "actor": "institution",
        "institution": question.caller.institution,
        "key": question.caller.key_id,
        "purpose": question.purpose,
        "fields": fields or None,
        "subject": subject,
        "reference": question.reference,
    }


def _outcome(question: Question, answer: Answer) -> tuple[str, str | None]:
    if answer.reason == "resident-not-found":
        return "not_found", answer.reason
    if answer.status != 200:
        return _OUTCOMES[answer.status // 100], answer.reason
    if question.operation == "account":
        return "done", None
    if question.operation == "fetch":
        return "disclosed", None
    if not answer.json["found"]:
        return "not_found", None
    return ("matched" if all(answer.json["matches"].values()) else "mismatched"), None

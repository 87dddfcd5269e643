"""Reads the bodies of institutions' routes into questions. Pure."""

from gateway.edge import strict
from gateway.lookup import Question
from gateway.problems import InvalidRequest

_COMMON = ("nik", "purpose", "reference", "operator")
VERIFY_MEMBERS = (*_COMMON, "claims")
FETCH_MEMBERS = (*_COMMON, "fields")


def read_verify(body: bytes) -> Question:
    """`{"nik", "purpose", "claims", "reference"?, "operator"?}`."""
    members, question = _read_common(body, VERIFY_MEMBERS)
    if members is not None:
        question.claims = strict.read_claims(members.get("claims"), question.faults)
        question.fields = tuple(question.claims)
    return question


def read_fetch(body: bytes) -> Question:
    """`{"nik", "purpose", "fields", "reference"?, "operator"?}`."""
    members, question = _read_common(body, FETCH_MEMBERS)
    if members is not None:
        question.fields = strict.read_fields(members.get("fields"), question.faults)
    return question


def _read_common(
    body: bytes, known: tuple[str, ...]
) -> tuple[dict[str, object] | None, Question]:
    try:
        members = strict.parse_object(body)
    except InvalidRequest as refusal:
        return None, Question(faults=refusal.faults)
    question = Question()
    faults = question.faults
    strict.check_members(members, known, faults)
    question.nik = strict.read_nik(members.get("nik"), faults)
    question.purpose = strict.read_purpose(members.get("purpose"), faults)
    if members.get("reference") is not None:
        question.reference = strict.read_text(
            members["reference"], faults, "/reference"
        )
    if members.get("operator") is not None:
        question.operator = strict.read_text(members["operator"], faults, "/operator")
    return members, question

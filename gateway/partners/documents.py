"""What is kept about partners and staff, as JSON has it: never a secret. Pure.

The command line's `--json` and the admin's routes answer with the same documents.
Instants are in UTC, as the contract writes them.
"""

from gateway.clock import to_text
from gateway.partners.agreement import Agreement, Grant
from gateway.partners.certificates import Certificate
from gateway.partners.listing import InstitutionRecord, KeyRecord, StaffRecord
from gateway.vocabulary import GRANTABLE_OPERATIONS

Document = dict[str, object]


def of_institution(record: InstitutionRecord) -> Document:
    return {
        "id": record.id,
        "name": record.name,
        "created_at": to_text(record.created_at),
    }


def of_agreement(agreement: Agreement) -> Document:
    return {
        "id": agreement.id,
        "institution": agreement.institution,
        "from": to_text(agreement.from_at),
        "to": to_text(agreement.to_at),
        "status": agreement.status,
        "grants": list(map(_of_grant, agreement.grants.values())),
        "limits": agreement.limits._asdict(),
        "shadow": agreement.shadow and agreement.shadow.limits._asdict(),
    }


def of_key(record: KeyRecord) -> Document:
    return {
        "id": record.id,
        "institution": record.institution,
        "not_after": _instant(record.not_after),
        "cidrs": list(map(str, record.networks)),
        "created_at": to_text(record.created_at),
        "revoked_at": _instant(record.revoked_at),
        "last_used_at": _instant(record.last_used_at),
    }


def of_certificate(certificate: Certificate) -> Document:
    return {
        "id": certificate.id,
        "institution": certificate.institution,
        "fingerprint": certificate.fingerprint.hex(),
        "label": certificate.label,
        "not_after": to_text(certificate.not_after),
        "created_at": to_text(certificate.created_at),
        "unbound_at": _instant(certificate.unbound_at),
    }


def of_staff(record: StaffRecord) -> Document:
    document: Document = {
        "id": record.id,
        "role": record.role,
        "name": record.name,
        "token_id": record.token,
        "not_after": _instant(record.not_after),
        "created_at": to_text(record.created_at),
        "revoked_at": _instant(record.revoked_at),
        "last_used_at": _instant(record.last_used_at),
    }
    # Where no provider is set up nobody has one.
    if record.identity is not None:
        document["identity"] = record.identity._asdict()
    return document


def operations_in_order(grant: Grant) -> list[str]:
    return [word for word in GRANTABLE_OPERATIONS if word in grant.operations]


def _of_grant(grant: Grant) -> Document:
    return {
        "purpose": grant.purpose,
        "operations": operations_in_order(grant),
        "fields": list(grant.fields),
        "name_similarity": grant.name_similarity,
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else to_text(at)

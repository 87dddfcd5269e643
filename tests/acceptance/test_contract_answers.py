"""What institutions are answered: true or false, granted fields, their own account."""

from datetime import datetime
from typing import Any, Final
from uuid import RFC_4122, UUID

import pytest

from gateway.registry.resident import Resident
from tests.acceptance import questions
from tests.acceptance.callers import TREATMENT
from tests.acceptance.ledger import entries, of_institution
from tests.acceptance.questions import UNKNOWN_NIK, nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

HOSPITAL_FIELDS: Final = [
    *("name", "birth_date", "sex", "blood_type"),
    *("address", "village", "district"),
]


def check_access_id(answer: Answer) -> None:
    """The id is in the header and in the body, and is a UUIDv7 (RFC 9562)."""
    assert answer.access_id is not None
    assert answer.json["access_id"] == answer.access_id
    name = UUID(answer.access_id)
    assert str(name) == answer.access_id
    assert (name.version, name.variant) == (7, RFC_4122)


def whole_resident(service: Service) -> Resident:
    """One of whom the registry holds all that the sample grants name."""
    wanted = {*HOSPITAL_FIELDS, "birth_place", "mother_name"}
    return next(one for one in service.residents if all(one[field] for field in wanted))


async def test_verify_answers_true_or_false_for_each_claim(service: Service) -> None:
    resident = whole_resident(service)
    claims = questions.true_claims(resident, "name", "birth_place", "mother_name")
    claims["birth_date"] = "1801-01-01"
    bank = service.sample("bank")
    answer = await service.put(
        questions.verify(bank, nik_of(resident), claims, purpose="kyc")
    )
    assert answer.status == 200
    assert answer.json == {
        "access_id": answer.access_id,
        "found": True,
        "matches": {
            "name": True,
            "birth_place": True,
            "mother_name": True,
            "birth_date": False,
        },
    }
    check_access_id(answer)


async def test_verify_compares_names_without_case_spaces_and_titles(
    service: Service,
) -> None:
    resident = whole_resident(service)
    caller, name = service.newcomer(), resident["name"]
    assert name is not None
    for claim, so in (
        (f"  dr.  {name.lower()},  S.H. ", True),
        (f"\u200edr.\u00a0{name.lower()},\tS.H.\r\n", True),
        ("\u00a0\t", False),
        (name[::-1], False),
    ):
        answer = await service.put(
            questions.verify(caller, nik_of(resident), {"name": claim})
        )
        assert answer.json["matches"] == {"name": so}


async def test_verify_of_a_nik_that_nobody_has_finds_nothing(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = questions.verify(caller, UNKNOWN_NIK, {"name": "SITI AMINAH"})
    answer = await service.put(question)
    assert answer.status == 200
    assert answer.json == {
        "access_id": answer.access_id,
        "found": False,
        "matches": {},
    }
    check_access_id(answer)


async def test_fetch_discloses_what_was_asked_for_and_no_more(
    service: Service,
) -> None:
    resident = whole_resident(service)
    hospital = service.sample("hospital")
    for asked in (["district", "name"], list(reversed(HOSPITAL_FIELDS))):
        answer = await service.put(questions.fetch(hospital, nik_of(resident), asked))
        assert answer.status == 200
        assert set(answer.json) == {"access_id", "resident"}
        ordered = [field for field in HOSPITAL_FIELDS if field in asked]
        assert list(answer.json["resident"]) == ordered
        assert answer.json["resident"] == {field: resident[field] for field in asked}
        check_access_id(answer)


async def test_fetch_of_a_nik_that_nobody_has_is_404_and_charged(
    service: Service,
) -> None:
    caller = service.newcomer()
    answer = await service.put(questions.fetch(caller, UNKNOWN_NIK, ["name"]))
    assert (answer.status, answer.reason) == (404, "resident-not-found")
    assert answer.json["type"] == "/problems/resident-not-found"
    check_access_id(answer)
    (entry,) = await of_institution(service.auditor_dsn, caller.institution)
    assert (entry["outcome"], entry["charged"]) == ("not_found", 1)
    account = await service.put(questions.account(caller))
    day = account.json["limits"][1]
    assert day["quota"] - day["remaining"] == 1


async def test_fields_outside_the_grant_refuse_the_whole_call_and_are_named(
    service: Service,
) -> None:
    hospital, nik = service.sample("hospital"), nik_of(whole_resident(service))
    asked = ["religion", "name", "kk"]
    for question in (
        questions.fetch(hospital, nik, asked),
        questions.verify(hospital, nik, dict.fromkeys(asked, "X")),
    ):
        answer = await service.put(question)
        assert (answer.status, answer.reason) == (403, "not-granted")
        assert answer.json["fields"] == ["kk", "religion"]
        assert "resident" not in answer.json
        check_access_id(answer)


async def test_a_purpose_or_an_operation_outside_the_grant_is_refused(
    service: Service,
) -> None:
    bank, nik = service.sample("bank"), nik_of(whole_resident(service))
    for question in (
        questions.fetch(bank, nik, ["name"], purpose="kyc"),
        questions.verify(bank, nik, {"name": "A"}, purpose="treatment"),
        questions.verify(bank, nik, {"name": "A"}, purpose="no-such-purpose"),
    ):
        answer = await service.put(question)
        assert (answer.status, answer.reason) == (403, "not-granted")


async def test_an_entry_holds_what_was_asked_by_whom_and_from_where(
    service: Service,
) -> None:
    caller, resident = service.newcomer(), whole_resident(service)
    answer = await service.ask(
        "POST",
        "/v1/verify",
        source="127.0.0.42",
        key=caller.key,
        json={
            "nik": nik_of(resident),
            "purpose": "treatment",
            "claims": {"sex": resident["sex"], "name": resident["name"]},
            "reference": 'case "7"/é',
            "operator": "ibu Ratna",
        },
    )
    (entry,) = await of_institution(service.auditor_dsn, caller.institution)
    at = datetime.fromisoformat(entry.pop("at"))
    assert abs(at.timestamp() - UUID(entry["access_id"]).int / 2**80 / 1000) < 1
    assert entry == {
        "v": 1,
        "access_id": answer.access_id,
        "actor": "institution",
        "institution": caller.institution,
        "key": caller.key_id,
        "operation": "verify",
        "purpose": "treatment",
        "fields": ["name", "sex"],
        "subject": service.subjects.reference(nik_of(resident)).text,
        "subject_key": 1,
        "outcome": "matched",
        "reason": None,
        "reference": 'case "7"/é',
        "operator": "ibu Ratna",
        "address": "127.0.0.42",
        "charged": 1,
        "count": 1,
        "replay_of": None,
    }


async def test_an_account_tells_an_institution_its_own_terms(
    service: Service,
) -> None:
    limits = {"rate": 7, "burst": 9, "day": 11, "month": 13}
    caller = await service.make_caller(grants=[TREATMENT], limits=limits)
    answer = await service.put(questions.account(caller))
    assert answer.status == 200
    account: dict[str, Any] = answer.json
    assert list(account) == ["institution", "key", "agreement", "grants", "limits"]
    assert account["institution"] == {"id": caller.institution, "name": "Lembaga Uji"}
    assert account["key"] == {"id": caller.key_id, "not_after": None}
    assert account["agreement"]["id"] == caller.agreement
    assert account["agreement"]["status"] == "active"
    assert account["agreement"]["from"] < account["agreement"]["to"]
    assert account["grants"] == [
        {
            "purpose": "treatment",
            "operations": ["verify", "fetch", "batch"],
            "fields": HOSPITAL_FIELDS,
        }
    ]
    resets = [limit.pop("resets_at") for limit in account["limits"]]
    assert all(datetime.fromisoformat(text).tzinfo for text in resets)
    assert account["limits"] == [
        {"policy": "rate", "quota": 7, "window_s": 1, "burst": 9, "remaining": 8},
        {
            "policy": "day",
            "quota": 11,
            "window_s": 86_400,
            "burst": None,
            "remaining": 11,
        },
        {
            "policy": "month",
            "quota": 13,
            "window_s": 2_592_000,
            "burst": None,
            "remaining": 13,
        },
    ]
    (entry,) = await of_institution(service.auditor_dsn, caller.institution)
    assert entry["access_id"] == answer.access_id
    assert (entry["operation"], entry["outcome"]) == ("account", "done")


async def test_no_answer_may_be_kept_by_a_cache(service: Service) -> None:
    caller = service.newcomer()
    for answer in (
        await service.put(questions.account(caller)),
        await service.put(questions.fetch(caller, UNKNOWN_NIK, ["name"])),
        await service.put(questions.account(None), source="127.0.4.20"),
    ):
        assert answer.headers["cache-control"] == "no-store"


async def test_a_refused_call_names_its_subject_in_the_log(service: Service) -> None:
    caller, nik = service.newcomer(), nik_of(whole_resident(service))
    answer = await service.put(questions.fetch(caller, nik, ["religion"]))
    assert answer.status == 403
    (entry,) = await entries(
        service.auditor_dsn, "e.institution = $1", caller.institution
    )
    assert entry["subject"] == service.subjects.reference(nik).text
    assert entry["fields"] == ["religion"]

"""POST /admin/rehearsals: limits tried on the calls that were made."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from gateway.clock import from_datetime, to_text
from tests.acceptance import questions
from tests.acceptance.admins import Admin
from tests.acceptance.callers import PLENTY
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

CALLS: Final = 6


def an_hour_ago() -> str:
    return to_text(from_datetime(datetime.now(UTC) - timedelta(hours=1)))  # noqa: TID251 - the server's clock is this machine's


async def test_it_tells_what_would_have_been_refused_and_is_an_entry(
    service: Service, admin: Admin
) -> None:
    caller = service.newcomer()
    nik = nik_of(service.residents[3])
    question = questions.verify(caller, nik, {"birth_date": "1990-01-05"})
    for _ in range(CALLS):
        assert (await service.put(question)).status == 200
    asked = {"institution": caller.institution, "from": an_hour_ago()}
    limits = {"day": 4, "rate": 1000, "burst": 1000}
    answer = await service.ask(
        "POST", "/admin/rehearsals", key=admin.key, json=asked | {"limits": limits}
    )
    assert answer.status == 200
    told = answer.json
    assert told["limits"] == PLENTY | limits
    assert (told["calls"], told["admitted"], told["refused"]) == (CALLS, 4, 2)
    assert told["refused_by"] == {"rate": 0, "day": 2, "month": 0}
    assert told["enough"]["day"] == CALLS
    entry = await admin.entry(answer)
    assert (entry["operation"], entry["outcome"]) == ("limits.rehearse", "done")
    assert (entry["actor"], entry["charged"]) == ("admin", 0)
    # It has spent nothing and changed nothing.
    assert (await admin.got(f"agreements/{caller.agreement}"))["limits"] == PLENTY


async def test_all_that_is_wrong_is_said_at_once(
    service: Service, admin: Admin
) -> None:
    wrong = {
        "institution": True,
        "limits": {"rate": 0, "day": "many", "hour": 5},
        "from": "yesterday",
        "to": "today",
        "colour": "red",
    }
    answer = await service.ask("POST", "/admin/rehearsals", key=admin.key, json=wrong)
    assert answer.status == 400
    pointers = {one["pointer"] for one in answer.json["errors"]}
    assert pointers == {
        *("/institution", "/limits", "/limits/rate", "/limits/day"),
        *("/from", "/to", "/colour"),
    }
    twice = b'{"institution": 1, "from": "2026-01-01T00:00:00Z", '
    twice += b'"limits": {"day": 1, "day": 2}}'
    answer = await service.ask(
        "POST",
        "/admin/rehearsals",
        key=admin.key,
        headers={"Content-Type": "application/json"},
        body=twice,
    )
    assert [one["pointer"] for one in answer.json["errors"]] == ["/limits/day"]
    missing = {"institution": 2_000_000_000, "limits": PLENTY, "from": an_hour_ago()}
    answer = await service.ask("POST", "/admin/rehearsals", key=admin.key, json=missing)
    assert answer.status == 404

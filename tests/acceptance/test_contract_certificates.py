"""An admin binds institutions to client certificates over HTTP, and frees them again."""

from typing import Any, Final

import pytest

from tests.acceptance.admins import WHY, Admin
from tests.acceptance.callers import Caller

pytestmark = [pytest.mark.acceptance]

OURS: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
ENDS: Final = "2100-01-01T00:00:00+07:00"


def binding(caller: Caller, **terms: Any) -> dict[str, Any]:
    wanted = {"institution": caller.institution, "fingerprint": OURS}
    return wanted | {"label": "core banking", "not_after": ENDS} | terms


async def test_a_binding_is_told_with_what_became_of_it(admin: Admin) -> None:
    caller = await admin.caller()
    path = "certificates"
    shown = OURS.upper()
    made = await admin.made(path, **binding(caller, fingerprint=shown))
    one = f"{path}/{made['id']}"
    got = await admin.got(one)
    (change,) = got.pop("changes")
    assert (change["operation"], change["reference"]) == ("certificate.bind", WHY)
    assert change["became"] == got
    told = (got["institution"], got["fingerprint"], got["label"], got["not_after"])
    ends = "2099-12-31T17:00:00.000000Z"
    assert told == (caller.institution, OURS, "core banking", ends)
    assert got["unbound_at"] is None
    listed = await admin.got(f"{path}?institution={caller.institution}")
    assert listed == {"certificates": [got], "next": None}
    ended = await admin.ask("DELETE", one)
    entry = await admin.entry(ended)
    assert (entry["operation"], entry["outcome"]) == ("certificate.unbind", "done")
    looked = await admin.ask("GET", one)
    assert (await admin.entry(looked))["operation"] == "certificate.read"
    assert looked.json["unbound_at"] is not None
    assert [each["operation"] for each in looked.json["changes"]] == [
        "certificate.unbind",
        "certificate.bind",
    ]
    assert (await admin.ask("DELETE", one)).status == 204


async def test_what_is_wrong_with_a_binding_is_said_at_once(admin: Admin) -> None:
    caller = await admin.caller()
    wrong = binding(caller, fingerprint="AB:CD", label="", not_after="soon")
    answer = await admin.ask("POST", "certificates", **wrong)
    pointers = ["/fingerprint", "/label", "/not_after"]
    assert sorted(each["pointer"] for each in answer.json["errors"]) == pointers
    await admin.made("certificates", **binding(caller))
    again = await admin.ask("POST", "certificates", **binding(caller))
    assert [each["pointer"] for each in again.json["errors"]] == ["/fingerprint"]
    nobody = binding(caller, institution=2**31 - 1)
    assert (await admin.ask("POST", "certificates", **nobody)).status == 404
    for missing in ("0", "2147483647", "x"):
        answer = await admin.ask("DELETE", f"certificates/{missing}")
        assert answer.status == 404

"""What auditors are shown, and that each of their looks is itself an entry."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.acceptance import questions
from tests.acceptance.callers import Caller, with_another_secret
from tests.acceptance.ledger import Entry, of_institution
from tests.acceptance.questions import Question, nik_of
from tests.acceptance.service import Service, write_secrets
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance]

MEMBERS: Final = [
    *("v", "access_id", "at", "actor", "institution", "key", "operation", "purpose"),
    *("fields", "subject", "subject_key", "outcome", "reason", "reference"),
    *("operator", "address", "charged", "count", "replay_of"),
]
REASON: Final = "complaint 42"


async def search(service: Service, **asked: Any) -> Answer:
    query = urlencode({"reason": REASON} | asked)
    auditor = service.staff["auditor"]
    return await service.ask("GET", f"/audit/entries?{query}", key=auditor)


async def search_subject(service: Service, **body: Any) -> Answer:
    return await service.ask(
        "POST",
        "/audit/subject-searches",
        key=service.staff["auditor"],
        json={"reason": REASON} | body,
    )


async def one_entry(service: Service, access_id: str | None, query: str) -> Answer:
    return await service.ask(
        "GET", f"/audit/entries/{access_id}?{query}", key=service.staff["auditor"]
    )


async def busy_caller(service: Service) -> tuple[Caller, list[Entry]]:
    """An institution with one entry of each of five kinds, and those, newest first."""
    caller = service.newcomer()
    nik = nik_of(service.residents[30])
    for question in (
        questions.verify(caller, nik, {"birth_date": "1801-01-01"}),
        questions.fetch(caller, nik, ["name"]),
        questions.fetch(caller, nik, ["religion"]),
        questions.fetch(caller, questions.UNKNOWN_NIK, ["name"]),
        questions.account(caller),
    ):
        await service.put(question)
    entered = await of_institution(service.auditor_dsn, caller.institution)
    assert len(entered) == 5
    return caller, entered[::-1]


def shown(answer: Answer) -> list[Entry]:
    """The entries of a page, their leaf indexes taken off."""
    assert answer.status == 200, answer
    assert set(answer.json) == {"entries", "next"}
    entries: list[Entry] = answer.json["entries"]
    for entry in entries:
        assert list(entry) == [*MEMBERS, "leaf_index"]
        # None until it is sealed, which is at most some seconds.
        assert isinstance(entry.pop("leaf_index"), int | None)
    return entries


async def test_a_search_shows_whole_entries_newest_first(service: Service) -> None:
    caller, entered = await busy_caller(service)
    assert shown(await search(service, institution=caller.institution)) == entered


async def test_a_search_finds_what_every_filter_asks_for(service: Service) -> None:
    caller, entered = await busy_caller(service)
    mine = {"institution": caller.institution}
    for asked, member in (
        ({"operation": "fetch"}, "operation"),
        ({"outcome": "refused"}, "outcome"),
        ({"purpose": "treatment"}, "purpose"),
        ({"actor": "institution"}, "actor"),
    ):
        found = shown(await search(service, **mine, **asked))
        wanted = [entry for entry in entered if entry[member] in asked.values()]
        assert found == wanted != []
    assert shown(await search(service, key=caller.key_id)) == entered
    assert shown(await search(service, **mine, actor="auditor")) == []
    assert shown(await search(service, **mine, key="00000000")) == []
    assert shown(await search(service, **mine, purpose="no such")) == []
    found = shown(await search(service, **mine, operation="fetch", outcome="refused"))
    assert [entry["fields"] for entry in found] == [["religion"]]


async def test_a_key_finds_what_was_tried_without_its_secret_too(
    service: Service,
) -> None:
    caller, entered = await busy_caller(service)
    guess = with_another_secret(caller.key)
    assert (await service.ask("GET", "/v1/account", key=guess)).status == 401
    # In a flood of the tests' own it is entered within a second.
    async with asyncio.timeout(30):
        while len(found := shown(await search(service, key=caller.key_id))) < 6:  # noqa: ASYNC110 - a log sets no event
            await asyncio.sleep(0.1)
    told = {name: found[0][name] for name in ("institution", "key", "reason")}
    assert told == {
        "institution": None,
        "key": caller.key_id,
        "reason": "unauthenticated",
    }
    assert found[1:] == entered
    mine = {"institution": caller.institution, "key": caller.key_id}
    assert shown(await search(service, **mine)) == entered
    first = await search(service, key=caller.key_id, limit=1)
    rest = await search(service, key=caller.key_id, limit=9, cursor=first.json["next"])
    assert shown(first) + shown(rest) == found


async def test_from_is_inclusive_and_to_is_exclusive_at_any_offset(
    service: Service,
) -> None:
    caller, entered = await busy_caller(service)
    mine = {"institution": caller.institution}
    third = entered[2]["at"]
    later = [entry for entry in entered if entry["at"] >= third]
    earlier = [entry for entry in entered if entry["at"] < third]
    assert shown(await search(service, **mine, **{"from": third})) == later
    assert shown(await search(service, **mine, to=third)) == earlier
    # The same instant, written as Jakarta's clock would.
    hour = (int(third[11:13]) + 7) % 24
    day = int(third[8:10]) + (int(third[11:13]) + 7) // 24
    local = f"{third[:8]}{day:02d}T{hour:02d}{third[13:26]}+07:00"
    if day <= 28:
        assert shown(await search(service, **mine, **{"from": local})) == later


async def test_a_search_is_an_entry_that_carries_its_reason(service: Service) -> None:
    answer = await search(service, reason="court order 7/2026", limit=1)
    shown_entry = await one_entry(service, answer.access_id, "reason=checking")
    entry = shown_entry.json
    assert list(entry) == [*MEMBERS, "leaf_index"]
    assert entry["access_id"] == answer.access_id
    assert entry["actor"] == "auditor"
    assert entry["key"] == service.staff["auditor"][9:17]
    assert (entry["operation"], entry["outcome"]) == ("audit.search", "done")
    assert (entry["reference"], entry["institution"]) == ("court order 7/2026", None)
    looked = await one_entry(service, shown_entry.access_id, "reason=checking")
    assert (looked.json["operation"], looked.json["reference"]) == (
        "audit.entry",
        "checking",
    )


@pytest.mark.parametrize("reason", [None, "", "ab", "x" * 201, f"of {'9' * 16}"])
async def test_an_auditor_who_gives_no_proper_reason_is_refused(
    service: Service, reason: str | None
) -> None:
    query = "" if reason is None else urlencode({"reason": reason})
    given = {} if reason is None else {"reason": reason}
    auditor = service.staff["auditor"]
    nik = nik_of(service.residents[0])
    for pointer, answer in (
        ("?reason", await service.ask("GET", f"/audit/entries?{query}", key=auditor)),
        ("?reason", await one_entry(service, "0" * 8, query)),
        (
            "/reason",
            await service.ask(
                "POST",
                "/audit/subject-searches",
                key=auditor,
                json={"nik": nik, **given},
            ),
        ),
    ):
        assert (answer.status, answer.reason) == (400, "invalid-request")
        assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]


async def test_reasons_of_3_and_of_200_characters_are_taken(service: Service) -> None:
    for reason in ("abc", "x" * 200):
        answer = await search(service, reason=reason, limit=1)
        assert answer.status == 200


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"institution": "x"}, "?institution"),
        ({"institution": "0"}, "?institution"),
        ({"operation": "spy"}, "?operation"),
        ({"outcome": "ok"}, "?outcome"),
        ({"actor": "bank"}, "?actor"),
        ({"from": "yesterday"}, "?from"),
        ({"to": "2026-13-01T00:00:00Z"}, "?to"),
        ({"limit": "0"}, "?limit"),
        ({"limit": "1001"}, "?limit"),
        ({"cursor": "AAAA"}, "?cursor"),
        ({"nik": "9" * 16}, "?nik"),
    ],
)
async def test_a_search_that_cannot_be_understood_is_refused(
    service: Service, asked: dict[str, str], pointer: str
) -> None:
    answer = await search(service, **asked)
    assert (answer.status, answer.reason) == (400, "invalid-request")
    assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]
    assert b"9" * 16 not in answer.body


async def test_a_cursor_is_good_for_the_question_it_was_given_for_alone(
    service: Service,
) -> None:
    caller, entered = await busy_caller(service)
    mine: dict[str, Any] = {"institution": caller.institution, "limit": 2}
    first = await search(service, **mine)
    cursor = first.json["next"]
    second = await search(service, **mine, cursor=cursor)
    assert shown(first) + shown(second) == entered[:4]
    flipped = "A" if cursor[20] != "A" else "B"
    forged = cursor[:20] + flipped + cursor[21:]
    other: dict[str, Any] = {"institution": caller.institution + 1, "limit": 2}
    for refused in (
        await search(service, **mine, cursor=forged),
        await search(service, **mine, cursor=cursor[:-4]),
        await search(service, **mine, cursor=""),
        await search(service, **other, cursor=cursor),
        await search(service, **mine, operation="fetch", cursor=cursor),
    ):
        assert refused.status == 400
        assert refused.json["errors"][0]["pointer"] == "?cursor"


@asynccontextmanager
async def kept_busy(service: Service, question: Question) -> AsyncIterator[None]:
    """Entries are written all the while this is open."""
    over = asyncio.Event()

    async def keep_asking() -> None:
        async with Connection.opened(service.gateway.port) as connection:
            while not over.is_set():
                assert (await question.put(connection)).status == 200

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(keep_asking())
        try:
            yield
        finally:
            over.set()


async def pages(service: Service, **asked: Any) -> list[Entry]:
    """Every page of a search, to the last."""
    found: list[Entry] = []
    following: dict[str, str] = {}
    while True:
        answer = await search(service, **asked, **following)
        page = shown(answer)
        assert len(page) <= int(asked["limit"])
        found += page
        if answer.json["next"] is None:
            return found
        following = {"cursor": answer.json["next"]}


async def test_pages_have_no_gap_and_no_repeat_while_entries_are_being_written(
    service: Service,
) -> None:
    caller = service.newcomer()
    nik = nik_of(service.residents[31])
    question = questions.verify(caller, nik, {"birth_date": "1801-01-01"})
    async with kept_busy(service, question):
        before: list[Entry] = []
        while len(before) <= 100:
            before = await of_institution(service.auditor_dsn, caller.institution)
        found = await pages(service, institution=caller.institution, limit=37)
    ids = [entry["access_id"] for entry in found]
    assert len(ids) == len(set(ids)) >= len(before)
    assert [entry["at"] for entry in found] == sorted(
        (entry["at"] for entry in found), reverse=True
    )
    assert {entry["access_id"] for entry in before} <= set(ids)


async def test_pages_over_everyone_have_no_gap_either(service: Service) -> None:
    caller, _ = await busy_caller(service)
    await busy_caller(service)
    asked: dict[str, Any] = {"limit": 3, "actor": "institution"}
    first = (await of_institution(service.auditor_dsn, caller.institution))[0]
    found = await pages(service, **asked, **{"from": first["at"]})
    assert len(found) == 10
    assert found[-1] == first


async def test_a_subject_search_tells_who_asked_about_a_person(
    service: Service,
) -> None:
    resident = service.residents[40]
    nik = nik_of(resident)
    one, other = service.newcomer(), service.newcomer()
    asked = [
        await service.put(questions.fetch(one, nik, ["name"])),
        await service.put(questions.fetch(other, nik, ["religion"])),
    ]
    await service.put(questions.fetch(one, nik_of(service.residents[41]), ["name"]))
    answer = await search_subject(service, nik=nik)
    found = shown(answer)
    assert [entry["access_id"] for entry in found] == [
        call.access_id for call in reversed(asked)
    ]
    assert nik.encode() not in answer.body
    looked = await one_entry(service, answer.access_id, "reason=checking")
    assert looked.json["operation"] == "audit.subject-search"
    assert looked.json["subject"] == service.subjects.reference(nik).text
    assert looked.json["reference"] == REASON
    # The search named the subject too, so the next one shows it.
    again = shown(await search_subject(service, nik=nik))
    assert again[0]["access_id"] == answer.access_id
    later = shown(await search_subject(service, nik=nik, **{"from": found[0]["at"]}))
    assert [entry["access_id"] for entry in later][-1] == found[0]["access_id"]


async def test_a_subject_search_is_read_as_strictly_as_a_question(
    service: Service,
) -> None:
    nik = nik_of(service.residents[0])
    for body, pointer in (
        ({"nik": nik[:15]}, "/nik"),
        ({}, "/nik"),
        ({"nik": nik, "colour": "red"}, "/colour"),
        ({"nik": nik, "cursor": "AAAA"}, "/cursor"),
        ({"nik": nik, "from": "now"}, "/from"),
    ):
        answer = await search_subject(service, **body)
        assert answer.status == 400
        assert [fault["pointer"] for fault in answer.json["errors"]] == [pointer]


async def test_an_access_made_under_an_older_subject_key_is_found(
    service: Service,
) -> None:
    nik = nik_of(service.residents[50])
    caller = service.newcomer()
    older = await service.put(questions.fetch(caller, nik, ["name"]))
    now = Path(service.environment["GATEWAY_SUBJECT_KEYS_FILE"])
    both = write_secrets(service.folder / "rotated-keys", 2, after=now)
    async with (
        service.second_gateway(GATEWAY_SUBJECT_KEYS_FILE=both) as rotated,
        Connection.opened(rotated.port) as connection,
    ):
        newer = await questions.fetch(caller, nik, ["name"]).put(connection)
        answer = await connection.ask(
            "POST",
            "/audit/subject-searches",
            key=service.staff["auditor"],
            json={"nik": nik, "reason": REASON},
        )
    found = shown(answer)
    assert [(entry["access_id"], entry["subject_key"]) for entry in found] == [
        (newer.access_id, 2),
        (older.access_id, 1),
    ]
    assert found[0]["subject"] != found[1]["subject"]


async def test_an_entry_that_is_not_there_is_not_found(service: Service) -> None:
    for name in (
        "01a21017-72c5-7000-8020-000000000000",
        "00000000-0000-0000-0000-000000000000",
        "not-a-name",
        "1",
    ):
        answer = await one_entry(service, name, "reason=checking")
        assert (answer.status, answer.reason) == (404, "not-found")
        assert answer.access_id is not None

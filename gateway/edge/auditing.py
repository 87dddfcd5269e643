"""The auditor's routes. Each needs a reason, and is itself an entry that carries it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from gateway.audit.access import Access
from gateway.audit.entry import PurposeName
from gateway.audit.inspection import MOST_A_PAGE, Criteria, Mark, Page
from gateway.audit.sealed import Receipt
from gateway.edge import rendering, strict
from gateway.edge.caller import (
    MOST_BODY,
    HttpRequest,
    Services,
    begin,
    identify_staff,
    read_json_body,
    respond,
    services,
)
from gateway.problems import (
    Fault,
    Forbidden,
    InvalidRequest,
    NotApproved,
    NotFound,
)
from gateway.vocabulary import Actor, Operation, Outcome, Word

REASON: Final = {"shortest": 3, "longest": 200}
DEFAULT_PAGE: Final = 100
SEARCH_PARAMETERS: Final = (
    "reason",
    "institution",
    "key",
    "purpose",
    "operation",
    "outcome",
    "actor",
    "from",
    "to",
    "limit",
    "cursor",
)
SUBJECT_MEMBERS: Final = frozenset(("nik", "reason", "from", "to", "cursor"))
W = TypeVar("W", bound=Word)
_LARGEST_ID: Final = 2**31 - 1
# No key and no purpose has this number; 0 stands in rows for none.
_NOBODY: Final = -1


def _plain(body: object, access_id: str | None) -> Response[bytes]:
    return rendering.answer(body, access_id=access_id)


async def audited(
    request: HttpRequest,
    operation: Operation,
    work: Callable[[Services, Access], Awaitable[object]],
    render: Callable[[object, str | None], Response[Any]] = _plain,
    *,
    role: Actor = Actor.AUDITOR,
) -> Response[Any]:
    """A call of staff: who, then what; its entry is durable before it is answered."""
    access = begin(request, operation)
    held = services(request)

    async def answer() -> Response[Any]:
        async with held.journal.recording(access):
            identify_staff(request, held, access, role)
            body = await work(held, access)
            access.outcome = Outcome.DONE
        return render(body, access.access_id)

    return await respond(access, answer)


@get("/audit/entries")
async def search(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, access: Access) -> object:
        faults: list[Fault] = []
        given = strict.query_members(
            request.query_params.multi_items(), SEARCH_PARAMETERS, faults
        )
        access.reference = _reason(given, faults, "?")
        limit = DEFAULT_PAGE
        if "limit" in given:
            limit = (
                strict.read_number(
                    given["limit"], faults, "?limit", least=1, most=MOST_A_PAGE
                )
                or DEFAULT_PAGE
            )
        criteria = _criteria(held, given, faults)
        below = _below(held, given, criteria, faults, "?")
        _refuse(faults)
        return await _page(held, criteria, below, limit)

    return await audited(request, Operation.AUDIT_SEARCH, work)


@post(
    "/audit/subject-searches",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def search_subject(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, access: Access) -> object:
        members = strict.parse_object(await read_json_body(request))
        faults: list[Fault] = []
        strict.check_members(members, SUBJECT_MEMBERS, faults)
        strict.query_members(request.query_params.multi_items(), (), faults)
        access.reference = _reason(members, faults, "/")
        nik = strict.read_nik(members.get("nik"), faults)
        subjects = held.lookups.subjects
        access.subject = subjects.reference(nik) if nik else None
        criteria = Criteria(
            subjects=subjects.references(nik) if nik else [],
            from_at=_instant(members, "from", faults, "/"),
            to_at=_instant(members, "to", faults, "/"),
        )
        below = _below(held, members, criteria, faults, "/")
        _refuse(faults)
        await _need_approval(held, access, criteria)
        return await _page(held, criteria, below, DEFAULT_PAGE)

    return await audited(request, Operation.AUDIT_SUBJECT_SEARCH, work)


async def _need_approval(held: Services, access: Access, criteria: Criteria) -> None:
    """Where a second auditor has to approve a search for a person, one has.

    Raises:
        NotApproved: nobody has yet; the search now waits for it.
    """
    approvals, key, person = held.approvals, access.key, access.subject
    if approvals is None:
        return
    staff = held.directory.key_of(key.number).staff if key else None
    if staff is None or person is None:
        raise Forbidden
    if not await approvals.grants(staff.id, criteria.subjects or ()):
        await approvals.file(staff.id, person, access.reference or "")
        raise NotApproved("a second auditor has to approve this; then ask again")


@get("/audit/entries/{access_id:str}")
async def one_entry(request: HttpRequest, access_id: FromPath[str]) -> Response[bytes]:
    async def work(held: Services, access: Access) -> object:
        return _entry_document(*await _entry(request, held, access, access_id))

    return await audited(request, Operation.AUDIT_ENTRY, work)


@get("/audit/entries/{access_id:str}/proof")
async def proof(request: HttpRequest, access_id: FromPath[str]) -> Response[bytes]:
    async def work(held: Services, access: Access) -> object:
        found = await _entry(request, held, access, access_id)
        return await held.sealed.receipt(found)

    def render(receipt: object, own: str | None) -> Response[bytes]:
        if not isinstance(receipt, Receipt):
            return rendering.sealing_soon(access_id, access_id=own)
        return rendering.answer(receipt.document, access_id=own)

    return await audited(request, Operation.AUDIT_PROOF, work, render)


async def _entry(
    request: HttpRequest, held: Services, access: Access, access_id: str
) -> tuple[bytes, int | None]:
    """The entry that a path names, once the reason is given."""
    faults: list[Fault] = []
    given = strict.query_members(
        request.query_params.multi_items(), ("reason",), faults
    )
    access.reference = _reason(given, faults, "?")
    _refuse(faults)
    found = await held.inspection.entry(access_id)
    if found is None:
        raise NotFound
    return found


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise InvalidRequest(faults)


def _reason(given: Mapping[str, object], faults: list[Fault], mark: str) -> str | None:
    return strict.read_text(given.get("reason"), faults, f"{mark}reason", **REASON)


def _instant(
    given: Mapping[str, object], name: str, faults: list[Fault], mark: str
) -> int | None:
    value = given.get(name)
    return None if value is None else strict.read_instant(value, faults, mark + name)


def _criteria(
    held: Services, given: Mapping[str, str], faults: list[Fault]
) -> Criteria:
    institution = None
    if "institution" in given:
        institution = strict.read_number(
            given["institution"], faults, "?institution", least=1, most=_LARGEST_ID
        )
    key, key_of, outside = _key(held, given)
    purpose = None
    if "purpose" in given:
        # One that nobody was ever granted is no entry's.
        number = held.directory.purpose_number(given["purpose"]) or _NOBODY
        purpose = PurposeName(number, given["purpose"])
        outside = outside or number == _NOBODY
    return Criteria(
        institution=institution,
        key=key,
        key_of=key_of,
        outside=outside,
        purpose=purpose,
        operation=_word(Operation, given, "operation", faults),
        outcome=_word(Outcome, given, "outcome", faults),
        actor=_word(Actor, given, "actor", faults),
        from_at=_instant(given, "from", faults, "?"),
        to_at=_instant(given, "to", faults, "?"),
    )


def _key(
    held: Services, given: Mapping[str, str]
) -> tuple[int | None, int | None, bool]:
    """Its number and its institution, and whether it is of none."""
    if "key" not in given:
        return None, None, False
    named = held.directory.key_named(given["key"])
    if named is None:
        # A key that nobody has was used by nobody.
        return _NOBODY, None, True
    return named.number, named.institution, named.institution is None


def _word(
    kind: type[W], given: Mapping[str, str], name: str, faults: list[Fault]
) -> W | None:
    if name not in given:
        return None
    member = kind.worded(given[name])
    if member is None:
        words = ", ".join(one.word for one in kind)
        faults.append(Fault(f"?{name}", f"want one of {words}"))
    return member


def _below(
    held: Services,
    given: Mapping[str, object],
    criteria: Criteria,
    faults: list[Fault],
    mark: str,
) -> Mark | None:
    cursor = given.get("cursor")
    if cursor is None:
        return None
    below = None
    if isinstance(cursor, str):
        below = held.cursors.open(cursor, repr(criteria))
    if below is None:
        faults.append(Fault(f"{mark}cursor", "want the `next` of the same question"))
    return below


async def _page(
    held: Services, criteria: Criteria, below: Mark | None, limit: int
) -> bytes:
    page = await held.inspection.page(criteria, below, limit)
    return page_document(held, repr(criteria), page)


def page_document(held: Services, question: str, page: Page) -> bytes:
    """A page of entries, with the cursor of the next one to the same question."""
    entries = b",".join(_entry_document(*entry) for entry in page.entries)
    following = page.next and held.cursors.seal(page.next, question)
    return b'{"entries":[%s],"next":%s}' % (entries, msgspec.json.encode(following))


def _entry_document(line: bytes, leaf_index: int | None) -> bytes:
    # The line itself, so that what is shown is what was hashed.
    return line[:-1] + b',"leaf_index":%s}' % msgspec.json.encode(leaf_index)

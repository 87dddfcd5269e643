"""What an admin changes. Each change needs a reason, and is an entry that carries it.

The change and its entry are one transaction (gateway/changes.py). The rules are those
of the command line: gateway/partners/keeping.py. The reason comes in the body, or in
the query, which is where DELETE has room for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from litestar import Response, delete, patch, post
from litestar.params import FromPath

from gateway.changes import LONGEST_REASON, SHORTEST_REASON, Change, Kept, Work
from gateway.edge import rendering, strict
from gateway.edge.caller import (
    MOST_BODY,
    HttpRequest,
    begin,
    credential,
    identify_staff,
    read_json_body,
    read_optional_json_body,
    respond,
    services,
)
from gateway.edge.listings import keeper_of
from gateway.partners import documents, keeping, listing, terms
from gateway.partners.agreement import Agreement
from gateway.partners.keeping import NewKey, NewStaff, Unbound
from gateway.partners.keys import Environment, Proved, environment_of
from gateway.partners.proposals import JUDGED, Wish
from gateway.postgres import Connection
from gateway.problems import Fault
from gateway.settings import NumberedKeys
from gateway.vocabulary import Actor, Operation, Outcome

INSTITUTION_MEMBERS: Final = ("name",)
AGREEMENT_MEMBERS: Final = ("institution", "from", "to", "grants", "limits")
CHANGE_MEMBERS: Final = (*AGREEMENT_MEMBERS, "status", "shadow")
AS_THEY_COME: Final = ("institution", "grants", "limits", "status")
KEY_MEMBERS: Final = ("institution", "not_after", "cidrs")
CERTIFICATE_MEMBERS: Final = ("institution", "fingerprint", "label", "not_after")
STAFF_MEMBERS: Final = ("role", "name", "not_after")
NO_CHANGE: Final = "nothing is given that would change"
N = TypeVar("N", bound=int | str | Kept)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for; `faults` says what of it could not be read.

    Keys and tokens are made under `peppers`, and in the environment of the admin's
    own token: a sandbox's admin makes keys of the sandbox. `by` is the admin.
    """

    by: int
    members: Mapping[str, object]
    reason: str | None
    faults: list[Fault]
    peppers: NumberedKeys
    environment: Environment

    def institution(self) -> int:
        given = self.members.get("institution")
        return strict.read_id(given, self.faults, "/institution")

    def instant(self, name: str) -> int | None:
        return strict.read_instant(self.members.get(name), self.faults, f"/{name}")

    def optional_instant(self, name: str) -> int | None:
        return None if self.members.get(name) is None else self.instant(name)


async def change(
    request: HttpRequest,
    operation: Operation,
    members: tuple[str, ...],
    plan: Callable[[Asked], Work[N]],
    tell: Callable[[N], object] | None = None,
    *,
    target: str | None = None,
    status: int = 201,
) -> Response[bytes]:
    """An admin's call: who, then what; the change is durable before it is answered.

    Args:
        request: the call.
        operation: what its entry says was done.
        members: those that the body may have, but for the reason.
        plan: reads what is asked for, and gives the work to do.
        tell: the answer's body, made of what the work gave; without it there is none.
        target: the id in the path of what is changed, where a second admin may be needed.
        status: of an answer with a body.
    """
    access = begin(request, operation)
    held = services(request)

    async def answer() -> Response[bytes]:
        async with held.journal.recording(access):
            staff = identify_staff(request, held, access, Actor.ADMIN)
            keeper = keeper_of(held)
            asked = await _read(request, members, keeper.peppers, staff.id)
            access.reference = asked.reason
            entered = Change(
                operation, asked.reason, key=access.key, address=access.address
            )
            wish = _wish(operation, target, asked, keeper.above)
            made = await keeper.change(entered, plan(asked), asked.faults, wish)
            access.outcome, access.access_id = Outcome.DONE, made.access_id
        if tell is None:
            return rendering.done(access_id=made.access_id)
        body = tell(made.result)
        return rendering.answer(body, access_id=made.access_id, status=status)

    return await respond(access, answer)


def _wish(
    operation: Operation, target: str | None, asked: Asked, above: int | None
) -> Wish | None:
    """What a second admin may have to approve; None where that never is so."""
    if above is None or operation not in JUDGED:
        return None
    whole = {**asked.members, "reason": asked.reason}
    return Wish(operation, target, whole, asked.by, above)


async def _read(
    request: HttpRequest, known: tuple[str, ...], peppers: NumberedKeys, by: int
) -> Asked:
    faults: list[Fault] = []
    in_query = strict.query_members(
        request.query_params.multi_items(), ("reason",), faults
    )
    members = await _members(request)
    strict.check_members(members, {*known, "reason"}, faults)
    for name in ("limits", "shadow"):
        strict.check_once(members.get(name), faults, f"/{name}")
    grants = members.get("grants")
    for place, grant in enumerate(grants if isinstance(grants, list) else ()):
        strict.check_once(grant, faults, f"/grants/{place}")
    if in_query and "reason" in members:
        faults.append(Fault("?reason", "given in the body too"))
    reason = strict.read_text(
        in_query.get("reason", members.get("reason")),
        faults,
        "?reason" if in_query else "/reason",
        shortest=SHORTEST_REASON,
        longest=LONGEST_REASON,
    )
    environment = _environment(credential(request))
    return Asked(by, members, reason, faults, peppers, environment)


def _environment(presented: str | Proved | None) -> Environment:
    if isinstance(presented, Proved):
        return presented.environment
    return environment_of(presented or "")


async def _members(request: HttpRequest) -> dict[str, object]:
    if request.method != "DELETE":
        return strict.parse_object(await read_json_body(request))
    body = await read_optional_json_body(request)
    return strict.parse_object(body) if body else {}


@post("/admin/institutions", request_max_body_size=MOST_BODY)
async def create_institution(request: HttpRequest) -> Response[bytes]:
    def plan(asked: Asked) -> Work[int]:
        return partial(keeping.create_institution, name=asked.members.get("name"))

    operation = Operation.INSTITUTION_CREATE
    return await change(request, operation, INSTITUTION_MEMBERS, plan, _id)


@post("/admin/agreements", request_max_body_size=MOST_BODY)
async def create_agreement(request: HttpRequest) -> Response[bytes]:
    def plan(asked: Asked) -> Work[int]:
        from_at, to_at = asked.instant("from"), asked.instant("to")
        return partial(
            keeping.create_agreement,
            institution=asked.institution(),
            # One that could not be read is a fault; these let the rest be checked.
            from_at=terms.EARLIEST if from_at is None else from_at,
            to_at=terms.LATEST if to_at is None else to_at,
            grants=asked.members.get("grants"),
            limits=asked.members.get("limits"),
        )

    operation = Operation.AGREEMENT_CREATE
    return await change(request, operation, AGREEMENT_MEMBERS, plan, _id)


@patch("/admin/agreements/{agreement:str}", request_max_body_size=MOST_BODY)
async def change_agreement(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[bytes]:
    """What is not given stays; the answer is the whole agreement as it is now.

    null is as not given, but for the shadow, which it takes away.
    """

    def plan(asked: Asked) -> Work[Agreement]:
        given = asked.members
        shadow = given.get("shadow", keeping.UNCHANGED)
        others = (given.get(name) for name in (*AGREEMENT_MEMBERS, "status"))
        if shadow is keeping.UNCHANGED and all(one is None for one in others):
            asked.faults.append(Fault("", NO_CHANGE))
        from_at, to_at = asked.optional_instant("from"), asked.optional_instant("to")
        rest = {name: given.get(name) for name in AS_THEY_COME}

        async def work(connection: Connection) -> Agreement:
            number = terms.require_written_id(agreement)
            await keeping.change_agreement(
                connection,
                number,
                from_at=from_at,
                to_at=to_at,
                shadow=shadow,
                **rest,
            )
            (kept,) = await listing.list_agreements(connection, only=number)
            return kept

        return work

    operation, tell = Operation.AGREEMENT_CHANGE, documents.of_agreement
    asked = (request, operation, CHANGE_MEMBERS, plan, tell)
    return await change(*asked, target=agreement, status=200)


@post("/admin/keys", request_max_body_size=MOST_BODY)
async def create_key(request: HttpRequest) -> Response[bytes]:
    def plan(asked: Asked) -> Work[NewKey]:
        return partial(
            keeping.create_key,
            peppers=asked.peppers,
            institution=asked.institution(),
            not_after=asked.optional_instant("not_after"),
            cidrs=asked.members.get("cidrs"),
            environment=asked.environment,
        )

    def tell(made: NewKey) -> object:
        return {"id": made.id, "key": made.text}

    return await change(request, Operation.KEY_CREATE, KEY_MEMBERS, plan, tell)


@delete("/admin/keys/{key:str}", status_code=200, request_max_body_size=MOST_BODY)
async def revoke_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
    """Also a token of staff, by its id. To do it again changes nothing, and is 204."""

    def plan(_: Asked) -> Work[str]:
        return partial(keeping.revoke_key, key_id=key)

    return await change(request, Operation.KEY_REVOKE, (), plan)


@post("/admin/certificates", request_max_body_size=MOST_BODY)
async def bind_certificate(request: HttpRequest) -> Response[bytes]:
    def plan(asked: Asked) -> Work[int]:
        ends = asked.instant("not_after")
        return partial(
            keeping.bind_certificate,
            institution=asked.institution(),
            fingerprint=asked.members.get("fingerprint"),
            label=asked.members.get("label"),
            # As in an agreement.
            not_after=terms.LATEST if ends is None else ends,
        )

    operation = Operation.CERTIFICATE_BIND
    return await change(request, operation, CERTIFICATE_MEMBERS, plan, _id)


@delete(
    "/admin/certificates/{certificate:str}",
    status_code=200,
    request_max_body_size=MOST_BODY,
)
async def unbind_certificate(
    request: HttpRequest, certificate: FromPath[str]
) -> Response[bytes]:
    """To do it again changes nothing, and is 204; the last frees its institution."""

    def plan(_: Asked) -> Work[Unbound]:
        async def work(connection: Connection) -> Unbound:
            number = terms.require_written_id(certificate)
            return await keeping.unbind_certificate(connection, number)

        return work

    return await change(request, Operation.CERTIFICATE_UNBIND, (), plan)


@post("/admin/staff", request_max_body_size=MOST_BODY)
async def create_staff(request: HttpRequest) -> Response[bytes]:
    def plan(asked: Asked) -> Work[NewStaff]:
        return partial(
            keeping.create_staff,
            peppers=asked.peppers,
            role=asked.members.get("role"),
            name=asked.members.get("name"),
            not_after=asked.optional_instant("not_after"),
            environment=asked.environment,
        )

    def tell(made: NewStaff) -> object:
        return {"id": made.id, "token": made.token.text}

    return await change(request, Operation.STAFF_CREATE, STAFF_MEMBERS, plan, tell)


@delete("/admin/staff/{member:str}", status_code=200, request_max_body_size=MOST_BODY)
async def revoke_staff(request: HttpRequest, member: FromPath[str]) -> Response[bytes]:
    """To do it again changes nothing, and is 204; the last admin may go too."""

    def plan(_: Asked) -> Work[int]:
        async def work(connection: Connection) -> int:
            number = terms.require_written_id(member)
            return await keeping.revoke_staff(connection, number)

        return work

    return await change(request, Operation.STAFF_REVOKE, (), plan)


def _id(made: int) -> object:
    return {"id": made}

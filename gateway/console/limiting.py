"""The admin's page of limits: tried on the calls that were made before they are saved."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.clock import SECOND, to_text
from gateway.console import history
from gateway.console.agreeing import change, find, newest
from gateway.console.forms import AFRESH, again, done, number, overtaken
from gateway.console.visit import Visit, shown
from gateway.console.within import Answer
from gateway.edge import rehearsals
from gateway.edge.caller import MOST_BODY, HttpRequest
from gateway.vocabulary import Actor, Limits

# How far back the calls that are replayed may lie, in seconds.
SPANS: Final = {"hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}


@get("/console/admin/agreements/{agreement:str}/limits", include_in_schema=False)
async def limits_page(request: HttpRequest, agreement: FromPath[str]) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        found = await find(visit, agreement)
        now = {f"limits.{name}": str(n) for name, n in found["limits"].items()}
        return _draw(visit, found, {**AFRESH, "kept": now | {"span": "week"}})

    return await shown(request, Actor.ADMIN, work)


def _draw(
    visit: Visit,
    agreement: Any,
    told: Mapping[str, Any],
    *,
    rehearsal: Any = None,
    tried: str = "",
) -> Response[bytes]:
    """The form; its limits can be saved where they are those that were `tried`."""
    return visit.draw(
        "admin_limits.html",
        agreement=agreement,
        seen=newest(agreement),
        spans=list(SPANS),
        rehearsal=rehearsal,
        tried=tried,
        history=history.told(agreement),
        **told,
    )


def _given(visit: Visit) -> dict[str, int | str]:
    return {name: number(visit.text(f"limits.{name}")) for name in Limits._fields}


def _told(limits: Mapping[str, int | str]) -> str:
    """Limits in one hidden field, to tell whether those that are saved were tried."""
    return " ".join(str(limit) for limit in limits.values())


@post(
    "/console/admin/agreements/{agreement:str}/limits",
    include_in_schema=False,
    request_max_body_size=MOST_BODY,
)
async def change_limits(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[Any]:
    """Tries the limits; if just these were tried before, saves them or puts in shadow."""

    async def work(visit: Visit) -> Response[Any]:
        found = await find(visit, agreement)
        limits, wanted = _given(visit), visit.text("do")
        ends_shadow = wanted == "unshadow"
        if not ends_shadow and (
            wanted not in {"save", "shadow"} or visit.text("tried") != _told(limits)
        ):
            return await _try(visit, found, limits)
        if newest(found) != visit.text("seen"):
            return _draw(visit, found, overtaken(visit))
        member = "limits" if wanted == "save" else "shadow"
        body = {member: None if ends_shadow else limits}
        answer = await change(visit, agreement, body | visit.given("reason"))
        if not answer.well:
            return await _try(visit, found, limits, answer)
        return done(f"/console/admin/agreements/{agreement}", answer)

    return await shown(request, Actor.ADMIN, work)


async def _try(
    visit: Visit,
    agreement: Any,
    limits: Mapping[str, int | str],
    refusal: Answer | None = None,
) -> Response[bytes]:
    """Shows what the limits would have done, and why they were not saved, if so.

    Limits that are well written can be saved even if they could not be tried.
    """
    seconds = SPANS.get(visit.text("span"), SPANS["week"])
    since = visit.held.clock.now() - seconds * SECOND
    body = {"institution": agreement["institution"], "limits": limits}
    asked = body | {"from": to_text(since)}
    answer = await visit.ask(rehearsals.rehearse, body=asked)
    wrong = any(name.startswith("limits") for name in answer.faults)
    return _draw(
        visit,
        agreement,
        again(visit, refusal or answer),
        rehearsal=answer.document if answer.well else None,
        tried="" if wrong else _told(limits),
    )


ROUTES: Final = (limits_page, change_limits)

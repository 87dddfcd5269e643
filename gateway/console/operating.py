"""The pages of ops: how the gateway does just now, and who uses what of the limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import structlog
from litestar import Response, get
from litestar.response import Stream

from gateway.audit.condition import State
from gateway.console.pages import HEADERS
from gateway.console.pulse import EVERY, Pulse
from gateway.console.visit import Visit, shown
from gateway.edge import operations
from gateway.edge.caller import HttpRequest
from gateway.quota.overview import Order
from gateway.vocabulary import Actor, Operation

# A stream ends before a worker that is told to stop must have ended (and before a
# proxy loses patience); the browser asks for the next one by itself, which goes to
# any worker.
STREAM_SECONDS: Final = 6.0
AGAIN_MS: Final = 200
A_PAGE: Final = "100"
# A page waits for its panels for so long: the stream, which it opens, brings the others.
AT_ONCE: Final = 0.1

log = structlog.get_logger()

Told = Callable[[Pulse], Awaitable[dict[str, Any]]]


async def _figures(pulse: Pulse) -> dict[str, Any]:
    return {"now": await pulse.figures()}


async def _institutions(pulse: Pulse) -> dict[str, Any]:
    orders = (Order.REFUSED, Order.USED)
    return {
        "first": {one.value: await pulse.institutions(one) for one in orders},
        "suspects": pulse.suspects(),
    }


async def _condition(pulse: Pulse) -> dict[str, Any]:
    condition = await pulse.condition()
    return {
        "log": condition,
        "ahead": sum(one.state is State.AHEAD for one in condition.partitions),
        "octets": sum(one.bytes for one in condition.partitions),
        "now": await pulse.figures(),
    }


# Each is asked for what it tells by itself: one that fails takes no other with it.
PANELS: Final[dict[str, Told]] = {
    "calls": _figures,
    "refusals": _figures,
    "state": _figures,
    "log": _condition,
    "institutions": _institutions,
}


async def _panel(visit: Visit, name: str) -> str:
    try:
        told = await PANELS[name](visit.request.app.state["pulse"])
        return visit.part(f"ops_{name}.html", **told)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are shown
        log.warning("console_panel_failed", panel=name, error=type(error).__name__)
        return visit.part("ops_failed.html")


@get("/console/ops", include_in_schema=False)
async def now(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        answer = await visit.enter(Operation.OPS_LIVE, Actor.OPS)
        if not answer.well:
            return visit.problem(answer)
        return visit.draw("ops.html", panels=await _panels_by_now(visit))

    return await shown(request, Actor.OPS, work)


async def _panels_by_now(visit: Visit) -> dict[str, str]:
    """What is known already, or in a moment. The rest is read all the same, and kept."""
    tasks = visit.request.app.state["pulse"].tasks
    reading = {name: tasks.create_task(_panel(visit, name)) for name in PANELS}
    await asyncio.wait(reading.values(), timeout=AT_ONCE)
    waiting = visit.part("ops_waiting.html")
    return {
        name: task.result() if task.done() else waiting
        for name, task in reading.items()
    }


@get("/console/ops/stream", include_in_schema=False)
async def stream(request: HttpRequest) -> Response[Any]:
    """The panels of a page that is open, as they change (HTML §9.2).

    Nobody need be at the screen: it lets no session live on.
    """

    async def work(visit: Visit) -> Response[Any]:
        headers = HEADERS | {"X-Accel-Buffering": "no"}
        return Stream(_events(visit), media_type="text/event-stream", headers=headers)

    return await shown(request, Actor.OPS, work, seen=False)


async def _events(visit: Visit) -> AsyncIterator[bytes]:
    yield f"retry: {AGAIN_MS}\n\n".encode()
    until = time.monotonic() + STREAM_SECONDS
    sent: dict[str, str] = {}
    while True:
        for name in PANELS:
            html = await _panel(visit, name)
            if sent.get(name) != html:
                sent[name] = html
                yield _event(name, html)
        if time.monotonic() > until:
            return
        await asyncio.sleep(EVERY)
        await visit.find_session(seen=False)
        if visit.role is not Actor.OPS:
            yield _event("over", visit.part("ops_over.html"))
            return


def _event(name: str, html: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
    return f"event: {name}\n{lines}\n".encode()


@get("/console/ops/limits", include_in_schema=False)
async def limits(request: HttpRequest) -> Response[Any]:
    async def work(visit: Visit) -> Response[Any]:
        order = visit.query.get("order", Order.REFUSED.value)
        asked = {"order": order, "limit": visit.query.get("limit", A_PAGE)}
        answer = await visit.ask(operations.limits, query=asked)
        if not answer.well:
            return visit.problem(answer)
        return visit.draw("ops_limits.html", asked=asked, found=answer.document)

    return await shown(request, Actor.OPS, work)


ROUTES: Final = (now, stream, limits)

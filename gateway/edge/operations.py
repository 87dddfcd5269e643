"""The routes of ops: how the journal stands, and who uses what of the limits."""

import asyncio
from typing import Final

from litestar import Response, get

from gateway.audit.access import Access
from gateway.audit.condition import Condition
from gateway.clock import SECOND, to_text
from gateway.edge import strict
from gateway.edge.auditing import audited
from gateway.edge.caller import HttpRequest, Services
from gateway.harvesting import step_of
from gateway.partners.agreement import Agreement, applicable
from gateway.partners.directory import Institution
from gateway.problems import Fault, InvalidRequest
from gateway.quota.limit import Standing
from gateway.quota.overview import InShadow, Order, Usage
from gateway.telemetry import Distribution, Reading
from gateway.vocabulary import Actor, Operation

MOST_INSTITUTIONS: Final = 1000
DEFAULT_INSTITUTIONS: Final = 50
PARAMETERS: Final = ("order", "limit")
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@get("/ops/journal")
async def journal(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, _: Access) -> object:
        faults: list[Fault] = []
        strict.query_members(request.query_params.multi_items(), (), faults)
        if faults:
            raise InvalidRequest(faults)
        # Files are read and summed: not in the way of the calls.
        reading = await asyncio.to_thread(Reading)
        condition = await held.conditions.now()
        return {
            "since": to_text(int(reading.value("gateway_start_time_seconds") * SECOND)),
            "flushes": _flushes(reading),
            "sealing": _sealing(condition),
            "partitions": condition.partitions,
            "default_partition_rows": condition.default_rows,
        }

    return await audited(request, Operation.OPS_JOURNAL, work, role=Actor.OPS)


def _flushes(reading: Reading) -> dict[str, object]:
    sizes = reading.distribution("gateway_flush_size", stage="journal")
    seconds = reading.distribution("gateway_flush_seconds", stage="journal")
    failed = reading.value("gateway_flush_failures_total", stage="journal")
    return {
        "count": sizes.count,
        "entries": int(sizes.total),
        "failed": int(failed),
        "size": {name: one and int(one) for name, one in _quantiles(sizes).items()},
        "seconds": _quantiles(seconds),
    }


def _quantiles(distribution: Distribution) -> dict[str, float | None]:
    return {name: distribution.quantile(share) for name, share in QUANTILES.items()}


def _sealing(condition: Condition) -> dict[str, object]:
    sealing = condition.sealing
    return {
        "lag_s": round(sealing.lag, 3),
        "size": sealing.size,
        "sealed_at": None if sealing.sealed_at is None else to_text(sealing.sealed_at),
        "unsealed_entries": sealing.waiting,
        "cosigned": {
            one.witness: {"size": one.size, "at": to_text(one.at)}
            for one in condition.cosigned
        },
    }


@get("/ops/limits")
async def limits(request: HttpRequest) -> Response[bytes]:
    async def work(held: Services, _: Access) -> object:
        order, most = _asked(request)
        return {
            "order": order,
            "institutions": await first(held, order, most),
            "harvesting": harvesting(held),
        }

    return await audited(request, Operation.OPS_LIMITS, work, role=Actor.OPS)


def harvesting(held: Services) -> list[dict[str, object]]:
    """About whom something is done now, since it seems to harvest; the worst first."""
    now = held.clock.now()
    suspects = [
        institution
        for institution in held.directory.institutions()
        if step_of(institution, now)
    ]
    suspects.sort(key=lambda one: (-one.precaution.step, one.id))
    return [
        {
            "id": one.id,
            "name": one.name,
            "step": one.precaution.step.word,
            "rule": one.precaution.rule and one.precaution.rule.word,
            "at": to_text(one.precaution.at),
        }
        for one in suspects
    ]


async def first(
    held: Services, order: Order, most: int, only: int | None = None
) -> list[dict[str, object]]:
    """At most so many institutions in this order, as the answer tells of them."""
    now = held.clock.now()
    bound = {
        institution.id: (institution, agreement)
        for institution in held.directory.institutions()
        if only in {None, institution.id}
        and (agreement := applicable(institution.agreements, now)) is not None
    }
    allowed = {number: agreement.limits for number, (_, agreement) in bound.items()}
    shadows = {
        number: agreement.shadow
        for number, (_, agreement) in bound.items()
        if agreement.shadow is not None
    }
    usages = await held.overview.first(allowed, order, most, shadows)
    return [_institution(*bound[usage.institution], usage) for usage in usages]


def _asked(request: HttpRequest) -> tuple[Order, int]:
    faults: list[Fault] = []
    given = strict.query_members(request.query_params.multi_items(), PARAMETERS, faults)
    order = given.get("order", Order.REFUSED)
    if order not in set(Order):
        faults.append(Fault("?order", f"want one of {', '.join(Order)}"))
    limit = given.get("limit", str(DEFAULT_INSTITUTIONS))
    most = strict.read_number(limit, faults, "?limit", least=1, most=MOST_INSTITUTIONS)
    if faults or most is None:
        raise InvalidRequest(faults)
    return Order(order), most


def _institution(
    institution: Institution, agreement: Agreement, usage: Usage
) -> dict[str, object]:
    known = usage.known
    return {
        "id": institution.id,
        "name": institution.name,
        "agreement": agreement.id,
        "windows": [_window(one, known=known) for one in usage.decision.standings],
        "used": round(usage.share, 6) if known else None,
        "refused": usage.refused.asks if known else None,
        "refused_by": usage.refused.by_policy if known else None,
        "shadow": usage.shadow and _shadow(usage.shadow, known=known),
        "degraded": not known,
    }


def _shadow(beside: InShadow, *, known: bool) -> dict[str, object]:
    """What would have been refused is that of today, or since it was set."""
    return {
        "since": to_text(beside.shadow.since),
        "limits": beside.shadow.limits._asdict(),
        "windows": [_window(one, known=known) for one in beside.decision.standings],
        "would_refuse": beside.refused.asks if known else None,
        "would_refuse_by": beside.refused.by_policy if known else None,
    }


def _window(one: Standing, *, known: bool) -> dict[str, object]:
    return {
        "policy": one.policy,
        "quota": one.quota,
        "window_s": one.window_s,
        "burst": one.burst,
        "used": one.used if known else None,
        "remaining": one.remaining if known else None,
        "resets_at": to_text(one.resets_at) if known else None,
    }

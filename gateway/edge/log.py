"""The log's public face: head, keys, proofs and leaf hashes. No personal data."""

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from litestar import Response, get

from gateway.audit.sealed import (
    MOST_COSIGNED,
    MOST_LEAVES,
    BeyondHead,
    SealedLog,
    encoded,
)
from gateway.edge import rendering, strict
from gateway.edge.caller import HttpRequest, client_address, services
from gateway.postgres import SERVER_GONE
from gateway.problems import (
    AuditUnavailable,
    Fault,
    InvalidRequest,
    NotFound,
    Problem,
    QuotaExceeded,
)

_LARGEST: Final = 2**62
A_SECOND: Final = 50
AT_ONCE: Final = 200
_ADDRESSES: Final = 20_000


class Bounds:
    """So many calls a second for each address, in this worker; the oldest forgotten.

    Args:
        a_second: calls that are free again in each second.
        at_once: calls that are free where there was none for long.
    """

    def __init__(self, *, a_second: float, at_once: int) -> None:
        self._a_second = a_second
        self._at_once = at_once
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def spend(self, address: str) -> None:
        """One call of this address (IPv6 by /64, as its caller words it).

        Raises:
            QuotaExceeded: it has none left now.
        """
        now = time.monotonic()
        free_at = max(self._free_at.pop(address, now), now)
        wait = free_at - now - (self._at_once - 1) / self._a_second
        if wait > 0:
            self._free_at[address] = free_at
            raise QuotaExceeded(("address",), math.ceil(wait))
        self._free_at[address] = free_at + 1 / self._a_second
        if len(self._free_at) > _ADDRESSES:
            self._free_at.popitem(last=False)


_BOUNDS: Final = Bounds(a_second=A_SECOND, at_once=AT_ONCE)


async def _public(
    request: HttpRequest,
    names: tuple[str, ...],
    work: Callable[[SealedLog, list[int]], Awaitable[Response[bytes]]],
    default: str | None = None,
) -> Response[bytes]:
    try:
        _BOUNDS.spend(client_address(request))
        numbers = _numbers(request, names, default)
        return await work(services(request).sealed, numbers)
    except BeyondHead:
        fault = Fault(f"?{names[-1]}", "want numbers within the log's head, in order")
        return rendering.problem(InvalidRequest([fault]))
    except Problem as problem:
        return rendering.problem(problem)
    except SERVER_GONE:
        return rendering.problem(AuditUnavailable(fate_unknown=False))


def _numbers(
    request: HttpRequest, names: tuple[str, ...], default: str | None
) -> list[int]:
    faults: list[Fault] = []
    given = strict.query_members(request.query_params.multi_items(), names, faults)
    numbers = [
        strict.read_number(
            given.get(name, default), faults, f"?{name}", least=0, most=_LARGEST
        )
        for name in names
    ]
    if faults:
        raise InvalidRequest(faults)
    return [number for number in numbers if number is not None]


def _text(text: str) -> Response[bytes]:
    return Response(text.encode(), media_type="text/plain")


@get("/log/checkpoint")
async def checkpoint(request: HttpRequest) -> Response[bytes]:
    """The newest head, or the newest that so many witnesses have cosigned."""

    async def work(log: SealedLog, numbers: list[int]) -> Response[bytes]:
        (cosigned,) = numbers
        if cosigned > MOST_COSIGNED:
            want = f"want a number from 0 to {MOST_COSIGNED}"
            raise InvalidRequest([Fault("?cosigned", want)])
        head = await log.head(cosigned)
        if head is None:
            raise NotFound
        return _text(head.note)

    return await _public(request, ("cosigned",), work, default="0")


@get("/log/key")
async def key(request: HttpRequest) -> Response[bytes]:
    async def work(_: SealedLog, __: list[int]) -> Response[bytes]:
        return _text("".join(f"{one.text}\n" for one in services(request).note_keys))

    return await _public(request, (), work)


@get("/log/proof/inclusion")
async def inclusion(request: HttpRequest) -> Response[bytes]:
    async def work(log: SealedLog, numbers: list[int]) -> Response[bytes]:
        index, size = numbers
        hashes = await log.inclusion(index, size)
        return rendering.public(
            {"leaf_index": index, "tree_size": size, "hashes": encoded(hashes)}
        )

    return await _public(request, ("index", "size"), work)


@get("/log/proof/consistency")
async def consistency(request: HttpRequest) -> Response[bytes]:
    async def work(log: SealedLog, numbers: list[int]) -> Response[bytes]:
        old, new = numbers
        hashes = await log.consistency(old, new)
        return rendering.public({"from": old, "to": new, "hashes": encoded(hashes)})

    return await _public(request, ("from", "to"), work)


@get("/log/proof/range")
async def range_proof(request: HttpRequest) -> Response[bytes]:
    async def work(log: SealedLog, numbers: list[int]) -> Response[bytes]:
        start, end, size = numbers
        proof = await log.range(start, end, size)
        return rendering.public(
            {
                "start": start,
                "end": end,
                "tree_size": size,
                "left": encoded(proof.left),
                "right": encoded(proof.right),
            }
        )

    return await _public(request, ("start", "end", "size"), work)


@get("/log/leaves")
async def leaves(request: HttpRequest) -> Response[bytes]:
    """At most MOST_LEAVES hashes at once, 32 bytes each."""

    async def work(log: SealedLog, numbers: list[int]) -> Response[bytes]:
        start, end = numbers
        if end - start > MOST_LEAVES:
            raise InvalidRequest([Fault("?end", f"want at most {MOST_LEAVES} leaves")])
        hashes = await log.leaves(start, end)
        return Response(hashes, media_type="application/octet-stream")

    return await _public(request, ("start", "end"), work)

"""GET /audit/export: sealed entries in leaf order, streamed in constant memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import structlog
from litestar import Response, get
from litestar.response import Stream

from gateway.audit.access import Access
from gateway.audit.export import Exports
from gateway.audit.extract import Extract
from gateway.audit.tree import NotAsSealed
from gateway.edge import rendering, spreadsheet, strict
from gateway.edge.auditing import REASON, audited
from gateway.edge.caller import HttpRequest, Services
from gateway.problems import (
    ArchiveUnavailable,
    EntriesExpired,
    Fault,
    InvalidRequest,
)
from gateway.vocabulary import Operation

log = structlog.get_logger()

PARAMETERS: Final = ("reason", "format", "from", "to")
MEDIA_TYPES: Final = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


class Asked(NamedTuple):
    """What an export is made of; without an extract it is empty."""

    exports: Exports
    extract: Extract | None
    form: str


@get("/audit/export")
async def export(request: HttpRequest) -> Response[Any]:
    """Its own entry is durable before the first byte leaves."""

    async def work(held: Services, access: Access) -> object:
        faults: list[Fault] = []
        given = strict.query_members(
            request.query_params.multi_items(), PARAMETERS, faults
        )
        access.reference = strict.read_text(
            given.get("reason"), faults, "?reason", **REASON
        )
        form = given.get("format", "ndjson")
        if form not in MEDIA_TYPES:
            faults.append(Fault("?format", f"want one of {', '.join(MEDIA_TYPES)}"))
        from_at, to_at = (_instant(given, name, faults) for name in ("from", "to"))
        if faults:
            raise InvalidRequest(faults)
        return Asked(held.exports, await held.exports.find(from_at, to_at), form)

    return await audited(request, Operation.AUDIT_EXPORT, work, _answer)


def _instant(given: Mapping[str, str], name: str, faults: list[Fault]) -> int | None:
    value = given.get(name)
    return None if value is None else strict.read_instant(value, faults, f"?{name}")


def _answer(asked: object, access_id: str | None) -> Response[Any]:
    if not isinstance(asked, Asked):
        raise TypeError("an export is answered with what was asked")
    headers = {"Log-Range": asked.extract.log_range if asked.extract else "0-0/0"}
    if access_id is not None:
        headers["Access-Id"] = access_id
    return Stream(
        body(asked),
        media_type=MEDIA_TYPES[asked.form],
        headers=rendering.PRIVATE | headers,
    )


async def body(asked: Asked) -> AsyncIterator[bytes]:
    """The export, some lines at a time.

    Raises:
        NotAsSealed, EntriesExpired, ArchiveUnavailable: on the way, which breaks the
            answer off: its status has left, and a body without its end is all that can
            still be said.
    """
    pieces = _parquet(asked) if asked.form == "parquet" else _text(asked)
    try:
        async for piece in pieces:
            yield piece
            # The worker's other calls come first, however fast the reader is.
            await asyncio.sleep(0)
    except NotAsSealed as error:
        log.critical("export_is_not_as_sealed", detail=str(error))
        raise
    except (EntriesExpired, ArchiveUnavailable) as error:
        log.warning("export_broken_off", detail=str(error))
        raise


def _parquet(asked: Asked) -> AsyncIterator[bytes]:
    return asked.exports.parquet(asked.extract)


async def _text(asked: Asked) -> AsyncIterator[bytes]:
    if asked.form == "csv":
        yield spreadsheet.HEADING
    if asked.extract is None:
        return
    async for lines in asked.exports.lines(asked.extract):
        if asked.form == "csv":
            yield spreadsheet.rows(lines)
        else:
            yield b"".join([line + b"\n" for line in lines])

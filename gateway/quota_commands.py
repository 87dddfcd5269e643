"""`gateway quota`: limits, tried on the calls that were made; counters, held against them."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Annotated, Final

import typer
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import Progress

from gateway import options, tables
from gateway.audit.admissions import Admissions
from gateway.audit.charges import Charges
from gateway.clock import JAKARTA_OFFSET, to_datetime, to_text
from gateway.exits import Unreachable, session, told
from gateway.partners import listing, terms
from gateway.postgres import SERVER_GONE, Connection, pool
from gateway.problems import Fault, InvalidRequest
from gateway.quota.limit import DAY, day_end, month_begin
from gateway.quota.reconciliation import Reconciliation
from gateway.quota.reconciliation import reconcile as compare
from gateway.quota.rehearsal import Day, Peak, Rehearsal
from gateway.redis import open_redis
from gateway.settings import AuditorSettings, ReconcileSettings, read_settings
from gateway.vocabulary import Limits

STATEMENT_SECONDS: Final = 60.0
_JAKARTA: Final = timezone(timedelta(microseconds=JAKARTA_OFFSET))

# Is told how far it has come, and how far there is to go, in microseconds of the log.
Told = Callable[[int, int], None]

# A traceback of rich's could print local variables: a DSN holds a password.
app = typer.Typer(
    help="Limits: try them on calls that were made; hold counters against the log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def quota() -> None:
    """Limits: try them on calls that were made; hold counters against the log."""


@app.command()
def reconcile(*, as_json: options.AsJson = False) -> None:
    """Tell where what institutions spent is not what the log has charged them.

    Calls in flight are waited for. Exit code 0 is no difference, 1 is some: a counter
    above its charges is so until its window turns; one below them should not be.
    """
    with told():
        found = asyncio.run(_reconcile())
    if as_json:
        rows = [one._asdict() for one in found.differences]
        typer.echo(json.dumps({"counted": found.counted, "differences": rows}))
    else:
        for one in found.differences:
            typer.echo(
                f"institution {one.institution}: day {one.day_counted} counted, "
                f"{one.day_charged} charged; month {one.month_counted} counted, "
                f"{one.month_charged} charged"
            )
        differ = f"{len(found.differences)} differ"
        typer.echo(f"{found.counted} institutions have counters; {differ}.", err=True)
    raise typer.Exit(1 if found.differences else 0)


async def _reconcile() -> Reconciliation:
    settings = read_settings(ReconcileSettings)
    redis = open_redis(settings.redis_url)
    dsn = str(settings.auditor_dsn)
    try:
        async with pool(
            dsn, name="reconcile", size=1, statement_seconds=STATEMENT_SECONDS
        ) as auditor:
            return await compare(redis, auditor, Charges(auditor))
    except RedisError as error:
        raise Unreachable(
            "The server that GATEWAY_REDIS_URL names cannot be reached "
            f"({type(error).__name__})."
        ) from None
    except SERVER_GONE as error:
        raise Unreachable(
            "The database that GATEWAY_AUDITOR_DSN names cannot be reached "
            f"({type(error).__name__})."
        ) from None
    finally:
        await redis.aclose()


@dataclass(frozen=True, slots=True)
class Asked:
    """What to rehearse; `given` are the limits that differ from the agreement's."""

    institution: int
    given: Mapping[str, int]
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A rehearsal that is over, and what of the log it was of, end exclusive."""

    institution: int
    span: tuple[int, int]
    rehearsal: Rehearsal


@app.command()
def rehearse(
    *,
    institution: Annotated[int, typer.Option(help="Its id.")],
    rate: options.Rate = None,
    burst: options.Burst = None,
    day: options.Day = None,
    month: options.Month = None,
    since: Annotated[
        str, typer.Option(help="First instant: RFC 3339, or a date (00:00 in Jakarta).")
    ],
    until: Annotated[
        str | None, typer.Option(help="The instant before which it ends; else now.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell what limits would have done to an institution's calls; changes nothing.

    A limit that is not given is that of its agreement. It reads the log as the auditor's
    role (GATEWAY_AUDITOR_DSN), which cannot write to it: it leaves no entry.
    """
    given = options.given_limits(rate, burst, day, month)
    with (
        told(missing="There is no such institution."),
        _progress("Rehearsing", quiet=as_json) as progress,
    ):
        asked = _asked(institution, given, since, until)
        rehearsed = asyncio.run(_rehearse(asked, progress))
    if rehearsed is None:
        typer.echo("The log holds no entries of that time.", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(_document(rehearsed), indent=2))
    else:
        _tell(rehearsed)


def _asked(
    institution: int, given: Mapping[str, int], since: str, until: str | None
) -> Asked:
    faults: list[Fault] = []
    since_at = options.read_instant(since, faults, "/since")
    until_at = options.read_optional_instant(until, faults, "/until")
    if since_at is not None and until_at is not None and since_at >= until_at:
        faults.append(Fault("/until", "must be later than since"))
    if faults or since_at is None:
        raise InvalidRequest(faults)
    return Asked(institution, given, since_at, until_at)


async def _rehearse(asked: Asked, progress: Told) -> Rehearsed | None:
    """None if the log holds nothing of that time."""
    settings = read_settings(AuditorSettings)
    async with session(
        settings.auditor_dsn,
        setting="GATEWAY_AUDITOR_DSN",
        patience_seconds=None,
        statement_seconds=STATEMENT_SECONDS,
    ) as connection:
        limits = await _limits(connection, asked)
        admissions = Admissions(connection, asked.institution)
        span = await admissions.extent(asked.since, asked.until)
        if span is None:
            return None
        starts, ends = span
        rehearsal = await _begun(admissions, limits, starts)
        async for asks in admissions.between(starts, ends):
            rehearsal.replay(asks)
            if asks:
                progress(asks[-1][0] - starts, ends - starts)
    return Rehearsed(asked.institution, span, rehearsal)


async def _limits(connection: Connection, asked: Asked) -> Limits:
    current = await listing.limits_of(connection, asked.institution)
    faults: list[Fault] = []
    if current is None and len(asked.given) < len(Limits._fields):
        faults.append(Fault("/limits", "there is no agreement: give all four"))
        raise InvalidRequest(faults)
    limits = terms.read_limits(asked.given, faults, current=current)
    if faults:
        raise InvalidRequest(faults)
    return limits


async def _begun(admissions: Admissions, limits: Limits, since: int) -> Rehearsal:
    """Before its first call, with what the day and the month had already used."""
    day_began = day_end(since) - DAY
    earlier = await admissions.charged(month_begin(since), day_began)
    today = await admissions.charged(day_began, since)
    return Rehearsal(limits, since, day_used=today, month_used=earlier + today)


@contextmanager
def _progress(title: str, *, quiet: bool) -> Iterator[Told]:
    """A bar on standard error, for people: how much of the time has been replayed."""
    console = Console(stderr=True, quiet=quiet)
    with Progress(
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=None)

        def told_so(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, refresh=True)

        yield told_so


def _document(rehearsed: Rehearsed) -> dict[str, object]:
    rehearsal, (starts, ends) = rehearsed.rehearsal, rehearsed.span
    days = rehearsal.days
    return {
        "institution": rehearsed.institution,
        "from": to_text(starts),
        "to": to_text(ends),
        "limits": rehearsal.limits._asdict(),
        "calls": sum(day.calls for day in days),
        "admitted": sum(day.admitted for day in days),
        "refused": sum(day.refused for day in days),
        "refused_by": rehearsal.refused_by,
        "first_refusal": _instant(rehearsal.first_refusal),
        "last_refusal": _instant(rehearsal.last_refusal),
        "busiest_second": _peak(rehearsal.busiest_second),
        "busiest_minute": _peak(rehearsal.busiest_minute),
        "enough": rehearsal.enough._asdict(),
        "days": _of_days(days).documents,
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else to_text(at)


def _peak(peak: Peak) -> dict[str, object] | None:
    return {"from": to_text(peak.since), "calls": peak.calls} if peak.calls else None


def _of_days(days: list[Day]) -> tables.Listing:
    rows = []
    documents: list[dict[str, object]] = []
    for day in days:
        date = to_datetime(day.ends - 1).astimezone(_JAKARTA).date().isoformat()
        counted = (day.calls, day.admitted, day.refused, day.units)
        rows.append((date, *(f"{number:,}" for number in counted)))
        names = ("calls", "admitted", "refused", "units")
        documents.append({"day": date} | dict(zip(names, counted, strict=True)))
    heading = ("day", "calls", "admitted", "refused", "units asked for")
    return tables.Listing(heading, rows, documents)


def _tell(rehearsed: Rehearsed) -> None:
    rehearsal, days = rehearsed.rehearsal, rehearsed.rehearsal.days
    tables.show(_of_days(days), as_json=False)
    starts, ends = map(_local, rehearsed.span)
    typer.echo(f"Institution {rehearsed.institution}, {starts} to {ends}")
    typer.echo(f"Tried    {_words(rehearsal.limits)}")
    calls, refused = (sum(day.calls for day in days), sum(day.refused for day in days))
    typer.echo(f"Calls    {calls:,}, of which {refused:,} would have been refused")
    for policy, times in (+rehearsal.refused_by).items():
        typer.echo(f"         {times:,} by the {policy}")
    if rehearsal.first_refusal is not None and rehearsal.last_refusal is not None:
        first, last = map(_local, (rehearsal.first_refusal, rehearsal.last_refusal))
        typer.echo(f"Refused  from {first} to {last}")
    for span, peak in (
        ("second", rehearsal.busiest_second),
        ("minute", rehearsal.busiest_minute),
    ):
        if peak.calls:
            typer.echo(f"Busiest  {span} {_local(peak.since)}: {peak.calls:,} calls")
    typer.echo(f"Enough   {_words(rehearsal.enough)}")


def _words(limits: Limits) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in limits._asdict().items())


def _local(at: int) -> str:
    return to_datetime(at).astimezone(_JAKARTA).isoformat(timespec="seconds")

"""`gateway quota`: limits, tried on the calls that were made; counters, held against them."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta, timezone
from typing import Annotated, Final

import typer
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import Progress

from gateway import options, tables
from gateway.audit.charges import Charges
from gateway.clock import JAKARTA_OFFSET, to_datetime
from gateway.exits import Unreachable, session, told
from gateway.partners.documents import Document
from gateway.postgres import SERVER_GONE, pool
from gateway.problems import Fault, InvalidRequest
from gateway.quota.reconciliation import Reconciliation
from gateway.quota.reconciliation import reconcile as compare
from gateway.redis import open_redis
from gateway.rehearsing import Asked, Rehearsed, Told
from gateway.rehearsing import rehearse as replay
from gateway.settings import AuditorSettings, ReconcileSettings, read_settings
from gateway.vocabulary import Limits

STATEMENT_SECONDS: Final = 60.0
_JAKARTA: Final = timezone(timedelta(microseconds=JAKARTA_OFFSET))

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
        typer.echo(json.dumps(rehearsed.document, indent=2))
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
        return await replay(connection, asked, progress)


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


def _of_days(days: list[Document]) -> tables.Listing:
    counted = ("calls", "admitted", "refused", "units")
    rows = [(str(day["day"]), *(f"{day[name]:,}" for name in counted)) for day in days]
    heading = ("day", "calls", "admitted", "refused", "units asked for")
    return tables.Listing(heading, rows, days)


def _tell(rehearsed: Rehearsed) -> None:
    rehearsal, days = rehearsed.rehearsal, rehearsed.rehearsal.days
    tables.show(_of_days(rehearsed.days), as_json=False)
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

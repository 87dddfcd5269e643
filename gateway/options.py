"""What the commands take, and how the texts given are read: pure.

Each `read_…` adds what is wrong to `faults`, in the words of the HTTP routes; what it
does not judge, such as a grant of the wrong form, gateway.partners.terms does.
"""

import re
from typing import Annotated, Final

import typer

from gateway.edge import strict
from gateway.partners import keeping
from gateway.partners.keys import Environment
from gateway.problems import Fault
from gateway.vocabulary import Limits

_PLAIN_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")

Reason = Annotated[
    str, typer.Option(help="Why: goes into the audit log, 3 to 200 characters.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="First instant: RFC 3339, or a date (00:00 Asia/Jakarta)."
    ),
]
To = Annotated[
    str | None, typer.Option("--to", help="The instant from which it holds no longer.")
]
NotAfter = Annotated[
    str | None, typer.Option(help="The instant from which it is dead.")
]
Grants = Annotated[
    list[str] | None,
    typer.Option(
        "--grant",
        help="purpose:operations:fields, such as kyc:verify,batch:name,birth_date, "
        "or with :0.85 after it, from which similarity names match (0.9 if not said). "
        "Repeat for more.",
    ),
]
Rate = Annotated[int | None, typer.Option(help="Calls a second, sustained.")]
Burst = Annotated[int | None, typer.Option(help="Calls at once.")]
Day = Annotated[int | None, typer.Option(help="Units of quota a calendar day.")]
Month = Annotated[int | None, typer.Option(help="Units of quota a calendar month.")]
Status = Annotated[str | None, typer.Option(help="active or suspended.")]
Shadow = Annotated[
    str | None,
    typer.Option(
        help="Limits that are counted and decide nothing, such as day=10000,rate=5; "
        "those left out are the agreement's. Or none."
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--cidr", help="A network it is admitted from; repeat for more."),
]
Sandbox = Annotated[
    bool, typer.Option("--test", help="For a sandbox: its text begins gd?_test_.")
]


def environment(*, test: bool) -> Environment:
    return Environment.TEST if test else Environment.LIVE


def read_instant(value: str | None, faults: list[Fault], at: str) -> int | None:
    """An RFC 3339 time of any offset, or a date: then 00:00 in Asia/Jakarta."""
    if value is not None and _PLAIN_DATE.fullmatch(value):
        value += "T00:00:00+07:00"
    return strict.read_instant(value, faults, at)


def read_optional_instant(
    value: str | None, faults: list[Fault], at: str
) -> int | None:
    return None if value is None else read_instant(value, faults, at)


def split_grant(text: str) -> object:
    """A grant as JSON has it; a text without three or four parts, as it is."""
    purpose, *parts = text.split(":")
    match parts:
        case [operations, fields]:
            return _grant(purpose, operations, fields)
        case [operations, fields, similarity]:
            share = {"name_similarity": _number(similarity)}
            return _grant(purpose, operations, fields) | share
        case _:
            return text


def _grant(purpose: str, operations: str, fields: str) -> dict[str, object]:
    return {
        "purpose": purpose,
        "operations": operations.split(","),
        "fields": fields.split(","),
    }


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def split_shadow(text: str | None) -> object:
    """A shadow as JSON has it; a text of another form, as it is."""
    if text is None:
        return keeping.UNCHANGED
    if text == "none":
        return None
    parts = [part.partition("=") for part in text.split(",")]
    limits = {name: int(limit) for name, _, limit in parts if limit.isdecimal()}
    return limits if len(limits) == len(parts) else text


def given_limits(
    rate: int | None, burst: int | None, day: int | None, month: int | None
) -> dict[str, int]:
    """Those that were given, under the names of the contract."""
    limits = zip(Limits._fields, (rate, burst, day, month), strict=True)
    return {name: limit for name, limit in limits if limit is not None}

"""`gateway doctor`: what is unsafe here, what could not be looked at, and warnings.

Exit code 78 if anything is unsafe, else 69 if something could not be examined, else 0.
"""

import asyncio
import json
from typing import Final

import typer

from gateway import options
from gateway.exits import told
from gateway.settings import SealSettings, ServeSettings, read_settings

UNSAFE: Final = 78
UNREACHABLE: Final = 69


def doctor(*, as_json: options.AsJson = False) -> None:
    """Say what is unsafe with these settings and servers, and what to change."""
    from gateway.doctor.examination import examine  # noqa: PLC0415 - lists do without
    from gateway.doctor.finding import Kind  # noqa: PLC0415 - as above

    with told():
        settings = read_settings(ServeSettings), read_settings(SealSettings)
        found = asyncio.run(examine(*settings))
    kinds = {finding.kind for finding in found}
    if as_json:
        documents = [
            {"kind": one.kind, "check": one.check, "says": one.says} for one in found
        ]
        told_of = {"safe": Kind.UNSAFE not in kinds, "findings": documents}
        typer.echo(json.dumps(told_of, indent=2, ensure_ascii=False))
    else:
        for finding in found:
            typer.echo(f"{finding.kind}: {finding.says}")
    if Kind.UNSAFE in kinds:
        raise typer.Exit(UNSAFE)
    if Kind.UNKNOWN in kinds:
        raise typer.Exit(UNREACHABLE)
    typer.echo("Nothing unsafe was found.", err=True)

"""`gateway audit verify` and `gateway audit export`.

Exit codes: 0 true, or written; 1 false, or nothing to write; 2 could not tell; 69 the
database cannot be reached; 78 a setting is missing or bad.
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import typer

from gateway.audit.archived import Archive
from gateway.audit.export import Exports, write_export
from gateway.audit.extract import Extract
from gateway.audit.proof import CannotTell, read_keys
from gateway.audit.tree import NotAsSealed
from gateway.audit.verification import Flaw, Verdict
from gateway.audit.verification import verify as judge
from gateway.audit_commands.telling import AsJson, Told, end, progress
from gateway.edge import strict
from gateway.postgres import pool
from gateway.problems import ArchiveUnavailable, EntriesExpired, Fault
from gateway.settings import AuditorSettings, BadSetting, read_settings

STATEMENT_SECONDS: Final = 600.0


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")],
    *,
    key: Annotated[
        str, typer.Option(help="The log's verifier key, or a file of such keys.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tell whether exports are what the log signed, without server or database.

    FILE.proof.json must lie beside each FILE; with FILE.leaves a wrong line is named.
    Several files must join without a gap.
    """
    try:
        with progress("Verifying", quiet=as_json) as told:
            verdict = judge(files, read_keys(key), told)
    except CannotTell as error:
        if as_json:
            typer.echo(json.dumps({"verdict": "unknown", "detail": str(error)}))
        end(2, str(error))
    if as_json:
        typer.echo(json.dumps(_document(verdict), indent=2))
    else:
        _tell(verdict)
    raise typer.Exit(0 if verdict.true else 1)


def export(
    file: Path,
    *,
    from_: Annotated[
        str, typer.Option("--from", help="First instant, such as 2026-11-24T00:00:00Z.")
    ],
    to: Annotated[str, typer.Option(help="The instant before which it ends.")],
    as_json: AsJson = False,
) -> None:
    """Write FILE, FILE.proof.json and FILE.leaves: the sealed entries of a time.

    It reads as the auditor's role (GATEWAY_AUDITOR_DSN), which cannot write to the
    log: unlike GET /audit/export it leaves no entry. Whoever holds that DSN can read
    the log anyway.
    """
    faults: list[Fault] = []
    span = [
        strict.read_instant(text, faults, at)
        for text, at in ((from_, "--from"), (to, "--to"))
    ]
    if faults:
        end(2, *(f"{fault.pointer}: {fault.detail}" for fault in faults))
    try:
        with progress("Exporting", quiet=as_json) as told:
            extract = asyncio.run(_export(file, span, told))
    except BadSetting as error:
        end(78, str(error))
    except (NotAsSealed, EntriesExpired, ArchiveUnavailable) as error:
        end(1, str(error))
    except asyncpg.PostgresError as error:
        end(1, f"PostgreSQL refused: {error.as_dict()['message']}.")
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        end(69, f"Nothing was written ({type(error).__name__}).")
    if extract is None:
        end(1, "No sealed entry lies in that time.")
    if as_json:
        typer.echo(json.dumps({"file": str(file)} | extract.numbers))
    else:
        typer.echo(f"{extract.end - extract.start} entries: {extract.log_range}")


async def _export(file: Path, span: list[int | None], told: Told) -> Extract | None:
    settings = read_settings(AuditorSettings)
    async with pool(
        str(settings.auditor_dsn),
        name="export",
        size=1,
        statement_seconds=STATEMENT_SECONDS,
    ) as auditor:
        exports = Exports(auditor, Archive(settings.archive_dir))
        extract = await exports.find(*span)
        if extract is not None:
            await write_export(exports, file, extract, told)
    return extract


def _document(verdict: Verdict) -> dict[str, object]:
    return {
        "verdict": "true" if verdict.true else "false",
        "exports": [
            {
                "file": str(export.file),
                "start": export.proof.start,
                "end": export.proof.end,
                "tree_size": export.proof.size,
                "lines": export.lines,
            }
            for export in verdict.exports
        ],
        "flaws": [_flaw(flaw) for flaw in verdict.flaws],
    }


def _flaw(flaw: Flaw) -> dict[str, object]:
    return {
        "kind": flaw.kind,
        "file": str(flaw.file),
        "line": flaw.line,
        "leaf_index": flaw.leaf_index,
        "access_id": flaw.access_id,
        "detail": flaw.sentence,
    }


def _tell(verdict: Verdict) -> None:
    for flaw in verdict.flaws:
        typer.echo(f"FALSE {flaw.file}: {flaw.sentence}")
    if verdict.true:
        for export in verdict.exports:
            proof = export.proof
            typer.echo(
                f"TRUE {export.file}: {export.lines} entries, leaves {proof.start} to "
                f"{proof.end - 1} of {proof.size}"
            )

"""How these commands speak: progress and sentences on standard error, exit codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import asyncpg
import typer
from rich.console import Console
from rich.progress import Progress

from gateway.audit.day_file import CannotArchive
from gateway.audit.tree import NotAsSealed
from gateway.postgres import SERVER_GONE
from gateway.problems import (
    ArchiveUnavailable,
    EntriesExpired,
    InvalidRequest,
    NotFound,
)
from gateway.settings import BadSetting

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Told = Callable[[int, int], None]


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Told]:
    """A bar on standard error, for people. It has no thread: processes are forked."""
    console = Console(stderr=True, quiet=quiet)
    with Progress(console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, refresh=True)

        yield told


@contextmanager
def sentences() -> Iterator[None]:
    """Ends the command with a sentence, not with a traceback."""
    try:
        yield
    except BadSetting as error:
        end(78, str(error))
    except InvalidRequest as refusal:
        end(2, *(f"{fault.pointer}: {fault.detail}" for fault in refusal.faults))
    except NotFound:
        end(1, "There is no such thing.")
    except (CannotArchive, NotAsSealed, ArchiveUnavailable, EntriesExpired) as error:
        end(1, str(error))
    except SERVER_GONE as error:
        kind = type(error).__name__
        end(74, f"The database went away ({kind}); run it again when it is there.")
    except asyncpg.PostgresError as error:
        end(1, f"PostgreSQL refused: {error.as_dict()['message']}.")


def end(code: int, *told: str) -> NoReturn:
    for sentence in told:
        typer.echo(sentence, err=True)
    raise typer.Exit(code) from None

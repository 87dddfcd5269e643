"""How a command ends that could not do its work: one sentence, and an exit code.

    1   no such thing; a migration or a server failed; PostgreSQL refused
    2   the input is wrong: every fault, a line each
    69  the database cannot be reached, so nothing was done (EX_UNAVAILABLE)
    74  it went away on the way: whether the change was made, a list tells (EX_IOERR)
    78  a setting is missing or bad, or something is unsafe (EX_CONFIG)

No sentence holds a DSN: it has a password in it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, NoReturn

import asyncpg
import typer
from pydantic import PostgresDsn

from gateway.embedded.processes import ServerError
from gateway.migration import MigrationFailed
from gateway.postgres import SERVER_GONE, Connection, connect
from gateway.problems import InvalidRequest, NotFound
from gateway.settings import BadSetting

PATIENCE_SECONDS: Final = 15.0
NOTHING_SUCH: Final = "There is no such thing."


class Unreachable(Exception):
    """No session with the database was made. The text is one sentence."""


class Gone(Exception):
    """A session ended that had been made: what it was doing may have been done."""


@contextmanager
def may_go() -> Iterator[None]:
    """Around work on a database.

    Raises:
        Gone: for the errors that mean it.
    """
    try:
        yield
    except SERVER_GONE as error:
        raise Gone(f"The database went away ({type(error).__name__}).") from None


@asynccontextmanager
async def session(
    dsn: PostgresDsn,
    *,
    setting: str,
    patience_seconds: float | None = PATIENCE_SECONDS,
    statement_seconds: float = 0,
) -> AsyncIterator[Connection]:
    """A connection for one command.

    Args:
        dsn: where to.
        setting: what names it.
        patience_seconds: how long the command has to use it; None is as long as it takes.
        statement_seconds: how long a statement may take; 0 is no bound. A command that
            changes something takes 0: the server's own bound would end a COMMIT that
            waits for a standby and report success.

    Raises:
        Unreachable: naming the setting, not what it says.
        Gone: it ended, or the patience did.
    """
    try:
        connection = await connect(
            str(dsn), name="command", statement_seconds=statement_seconds
        )
    except (*SERVER_GONE, asyncpg.PostgresError) as error:
        kind = type(error).__name__
        raise Unreachable(
            f"The database that {setting} names cannot be reached ({kind})."
        ) from None
    try:
        with may_go():
            async with asyncio.timeout(patience_seconds):
                yield connection
    finally:
        # Whatever was to be done is committed or will not be: no goodbye can hang.
        connection.terminate()


@contextmanager
def told(*, missing: str = NOTHING_SUCH) -> Iterator[None]:
    """Ends the command with a sentence on stderr, not with a traceback.

    Args:
        missing: the sentence for NotFound.
    """
    try:
        yield
    except BadSetting as error:
        _end(78, str(error))
    except InvalidRequest as refusal:
        _end(2, *(f"{fault.pointer}: {fault.detail}" for fault in refusal.faults))
    except NotFound:
        _end(1, missing)
    except (MigrationFailed, ServerError) as error:
        _end(1, str(error))
    except Unreachable as error:
        _end(69, str(error))
    except Gone as error:
        _end(74, f"{error} If something was to be changed, a list tells whether it is.")
    except asyncpg.PostgresError as error:
        _end(1, f"PostgreSQL refused: {error.as_dict()['message']}.")


def _end(code: int, *sentences: str) -> NoReturn:
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(code) from None

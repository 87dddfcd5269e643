"""Connections to PostgreSQL, and the SQL that goes over them.

SQL lives in `queries.sql` beside the code that asks it: blocks that begin with
`-- name: word`, followed by a line on which question it answers.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    # A connection of one's own, or one lent by a pool.
    Reader = Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = Reader = asyncpg.Connection
    Pool = asyncpg.Pool

CONNECT_SECONDS = 2.0
# A transaction of a link asks and is asked nothing for less than a second.
IDLE_SECONDS = 10.0
# Neither an answer to the question nor a refusal of it: the session is over.
SERVER_GONE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    # The server has said farewell, and the connection is not closed yet.
    asyncpg.InternalClientError,
)
# A row that is referred to was deleted meanwhile.
REFERENCE_GONE = asyncpg.ForeignKeyViolationError

_BLOCK = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def queries(package: str, file: str = "queries.sql") -> dict[str, str]:
    """The named blocks of a file of SQL in `package`: name to SQL."""
    text = files(package).joinpath(file).read_text("utf-8")
    parts = _BLOCK.split(text)
    return {
        name: body.strip().rstrip(";")
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def _server_settings(name: str, statement_seconds: float) -> dict[str, str]:
    return {
        "application_name": f"gateway-{name}",
        # The whole promise rests on it, so it does not rest on the server's file.
        "synchronous_commit": "on",
        "statement_timeout": str(int(statement_seconds * 1000)),
        "timezone": "UTC",
    }


async def connect(
    dsn: str,
    *,
    name: str,
    statement_seconds: float,
    connect_seconds: float = CONNECT_SECONDS,
    idle_seconds: float = 0.0,
) -> Connection:
    """Opens a session, which the server ends once it idles so long in a transaction."""
    idle = str(int(idle_seconds * 1000))
    return await asyncpg.connect(
        dsn,
        timeout=connect_seconds,
        server_settings={
            **_server_settings(name, statement_seconds),
            "idle_in_transaction_session_timeout": idle,
        },
    )


def pool(dsn: str, *, name: str, size: int, statement_seconds: float) -> Pool:
    """A pool that connects when first used, so that a start needs no database.

    `async with` opens and closes it. What is asked over it is planned each time anew: the
    plan that serves an institution of few entries reads through a day of another's.
    """
    settings = _server_settings(name, statement_seconds)
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=CONNECT_SECONDS,
        command_timeout=statement_seconds + 1,
        server_settings={**settings, "plan_cache_mode": "force_custom_plan"},
    )


class Link:
    """One connection of its own, made when first needed and again after a failure.

    One user at a time. It spares a pool's round trip for resetting the session. Of a
    process that hangs in a transaction the server takes the locks back.
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        statement_seconds: float,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._statement_seconds = statement_seconds
        self._connect_seconds = connect_seconds
        self._connection: Connection | None = None

    async def ready(self) -> Connection:
        """The connection, made now if there is none."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self._dsn,
                name=self._name,
                statement_seconds=self._statement_seconds,
                connect_seconds=self._connect_seconds,
                idle_seconds=IDLE_SECONDS,
            )
        return self._connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The connection; dropped if its use ends in anything but a server's answer."""
        connection = await self.ready()
        try:
            yield connection
        except asyncpg.PostgresError:
            # The server answered: the session is still in step.
            raise
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Ends the connection without waiting: a graceful close can hang."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

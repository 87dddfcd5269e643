"""The floor: pgbench doing the two bare statements of a lookup, row by row.

No HTTP, no Redis, no gathering: what a plain build over the same tables could not beat.
"""

import asyncio
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from gateway.embedded.demo import DATABASE, Standing
from gateway.embedded.ports import HOST
from gateway.embedded.postgres import program
from gateway.embedded.processes import ServerError
from gateway.embedded.provisioning import Provisioned

_DATABASE: Final = "floor"
_TPS: Final = re.compile(r"^tps = ([0-9.]+) ", re.MULTILINE)
_SELECT: Final = """\
\\set n random(1, {niks})
SELECT r.* FROM registry.residents AS r JOIN asked USING (nik) WHERE n = :n;
"""
# As the gateway writes an entry, each a batch of its own: its number holds its time.
_INSERT: Final = """\
\\set place random(0, 2097151)
\\set institution random(1, 6668)
\\set subject random(1, 9000000000000000000)
INSERT INTO entries (
    batch, position, at, actor, outcome, address, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
) VALUES (
    (extract(epoch FROM now()) * 1000)::bigint << 21 | :place, 0, now(), 1::"char", 2::"char", '192.0.2.1', 1::"char",
    :institution, 1, 1, 20, :subject, :subject, 1, 0::"char", '', '', ''
);
"""


@dataclass(frozen=True, slots=True)
class Floor:
    script: Path
    environment: dict[str, str]


def prepare(all_of: Standing, niks: Sequence[str]) -> Floor:
    """A log of its own beside the registry that is there."""
    asyncio.run(_prepare(all_of, niks))
    script = all_of.data / "floor.sql"
    script.write_text(_SELECT.format(niks=len(niks)) + _INSERT, "utf-8")
    return Floor(
        script,
        {
            **os.environ,
            "PGHOST": HOST,
            "PGPORT": str(all_of.postgres.port),
            "PGUSER": "postgres",
            "PGPASSWORD": all_of.postgres.password,
            "PGDATABASE": _DATABASE,
        },
    )


async def _prepare(all_of: Standing, niks: Sequence[str]) -> None:
    provisioned = Provisioned(all_of.postgres, all_of.data / "roles.json")
    await provisioned.create(_DATABASE)
    whole = await asyncpg.connect(all_of.postgres.dsn(database=DATABASE))
    rows = await whole.fetch(
        "SELECT * FROM registry.residents WHERE nik = ANY($1::bigint[])",
        [int(nik) for nik in niks],
    )
    # What was loaded is tidied here as there, or PostgreSQL begins to amid a measurement.
    await whole.execute("VACUUM ANALYZE")
    await whole.close()
    bare = await asyncpg.connect(all_of.postgres.dsn(database=_DATABASE))
    await bare.copy_records_to_table(
        "residents", schema_name="registry", records=[tuple(row) for row in rows]
    )
    await bare.execute("CREATE TABLE asked (n integer PRIMARY KEY, nik bigint)")
    await bare.copy_records_to_table(
        "asked", records=[(n, int(nik)) for n, nik in enumerate(niks, 1)]
    )
    await bare.execute("VACUUM ANALYZE")
    await bare.close()


def measure(floor: Floor, connections: int, seconds: float) -> float:
    """Lookups a second."""
    done = subprocess.run(  # noqa: S603 - the program of the wheel
        [
            *(str(program("pgbench")), "--no-vacuum", "--protocol", "prepared"),
            *("--client", str(connections), "--time", str(max(1, round(seconds)))),
            *("--file", str(floor.script)),
        ],
        env=floor.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    found = _TPS.search(done.stdout)
    if found is None or done.returncode:
        raise ServerError(f"pgbench did not end well. It said: {done.stderr[-500:]}")
    return float(found[1])

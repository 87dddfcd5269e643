"""The whole examination: what `gateway doctor` tells and `gateway serve` heeds."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.clock import SECOND, to_datetime
from gateway.doctor import counters, database, strength, surroundings, upkeep
from gateway.doctor.finding import Finding, Kind, unsafe
from gateway.settings import (
    BadSetting,
    NumberedKeys,
    SealSettings,
    ServeSettings,
)

# Where a server hangs: a start waits for so long, the doctor for longer.
START_PATIENCE: Final = 5.0
PATIENCE: Final = 15.0
_REDIS: Final = "GATEWAY_REDIS_URL"
_PLACE: Final = {kind: place for place, kind in enumerate(Kind)}


class Unsafe(BadSetting):
    """The text is a sentence a line, each on what to change."""


def must_be_safe(serving: ServeSettings, sealing: SealSettings) -> list[str]:
    """What could not be examined, a sentence each: that is no reason not to start.

    Raises:
        Unsafe: something is.
    """
    found = asyncio.run(dangers(serving, sealing, patience=START_PATIENCE))
    if bad := [finding.says for finding in found if finding.kind is Kind.UNSAFE]:
        raise Unsafe("\n".join(bad))
    return [finding.says for finding in found if finding.kind is Kind.UNKNOWN]


async def dangers(
    serving: ServeSettings, sealing: SealSettings, *, patience: float
) -> list[Finding]:
    """What decides whether to serve, and some warnings that it costs nothing to see."""
    asked = [
        database.examine(name, dsn, patience=patience)
        for name, dsn in _dsns(serving, sealing)
    ]
    counting = counters.examine(serving.redis_url, patience=patience)
    found = await asyncio.gather(*asked, counting)
    return [
        *surroundings.debugging(os.environ, dev_mode=sys.flags.dev_mode),
        *_secrets(serving),
        *(finding for findings in found for finding in findings),
    ]


async def examine(serving: ServeSettings, sealing: SealSettings) -> list[Finding]:
    """Everything, the gravest first."""
    found = await dangers(serving, sealing, patience=PATIENCE)
    found += await upkeep.examine(str(serving.postgres_dsn), patience=PATIENCE)
    now = to_datetime(time.time_ns() * SECOND // 10**9)
    for name, url in (*_dsns(serving, sealing), (_REDIS, serving.redis_url)):
        found += surroundings.on_the_way(name, url)
        found += surroundings.certificates(name, url, now)
    for words, folder in _folders(serving):
        disk = shutil.disk_usage(folder)
        found += surroundings.fullness(words, disk.total, disk.free)
    return sorted(found, key=lambda finding: _PLACE[finding.kind])


def _dsns(serving: ServeSettings, sealing: SealSettings) -> list[tuple[str, str]]:
    """Each DSN by the setting that holds it."""
    held = {
        "GATEWAY_POSTGRES_DSN": serving.postgres_dsn,
        "GATEWAY_REGISTRY_DSN": serving.registry_dsn,
        "GATEWAY_AUDITOR_DSN": serving.auditor_dsn,
        "GATEWAY_RECEIPTS_DSN": serving.receipts_dsn,
        "GATEWAY_ADMIN_DSN": serving.admin_dsn,
        "GATEWAY_SEALER_DSN": sealing.sealer_dsn,
    }
    return [(name, str(dsn)) for name, dsn in held.items() if dsn is not None]


def _secrets(serving: ServeSettings) -> list[Finding]:
    files = {
        "GATEWAY_PEPPER_FILE": serving.pepper_file,
        "GATEWAY_SUBJECT_KEYS_FILE": serving.subject_keys_file,
        "GATEWAY_SIGNING_KEY_FILE": serving.signing_key_file,
    }
    found, read = [], {}
    for setting, path in files.items():
        try:
            read[setting] = NumberedKeys.read(path, setting=setting)
        except BadSetting as bad:
            found.append(unsafe("bad-secrets", str(bad)))
    return found + strength.examine(read)


def _folders(serving: ServeSettings) -> Iterator[tuple[str, Path]]:
    yield "temporary files", Path(tempfile.gettempdir())
    if serving.archive_dir is not None and serving.archive_dir.is_dir():
        yield "GATEWAY_ARCHIVE_DIR", serving.archive_dir

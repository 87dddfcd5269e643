"""Gives subject references a new key; what was written under the old ones stays found."""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway.settings import (
    SHORTEST_SECRET,
    BadSetting,
    GatewaySettings,
    NumberedKeys,
    read_settings,
)

SETTING = "GATEWAY_SUBJECT_KEYS_FILE"
_LARGEST_NUMBER = 2**15 - 1


def rotate(path: Path) -> int:
    """Adds a secret under the next number to a file of numbered keys; gives the number.

    The file is replaced whole, on the disk before this returns: a crash leaves the old
    or the new one, and beside it at most a file that nobody reads. It keeps its owner
    and is 0600. Workers read it when they start.

    Raises:
        BadSetting: the file is not as it must be, its numbers are used up, or it cannot
            be replaced; it is as it was.
    """
    # Where a link leads is what is replaced, not the link.
    path = path.resolve()
    try:
        with _alone(path.parent):
            keys = NumberedKeys.read(path, setting=SETTING)
            number = keys.newest + 1
            if number > _LARGEST_NUMBER:
                raise BadSetting(f"{SETTING} has used its last number.")
            lines = [f"{n}:{key.hex()}\n" for n, key in sorted(keys.by_number.items())]
            lines.append(f"{number}:{secrets.token_hex(SHORTEST_SECRET)}\n")
            _replace(path, "".join(lines))
    except OSError as error:
        raise BadSetting(f"{SETTING} cannot be replaced: {error.strerror}.") from None
    return number


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time: of two who add the same number, one's key would be lost."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
        os.fsync(held)
    finally:
        os.close(held)


def _replace(path: Path, text: str) -> None:
    owned = path.stat()
    # mkstemp makes it 0600.
    written, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(written, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
            file.write(text)
            os.fchown(written, owned.st_uid, owned.st_gid)
            file.flush()
            os.fsync(written)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


class RotationSettings(GatewaySettings):
    """What the command needs."""

    subject_keys_file: Path


def rotate_subject_key(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Give subject references a new key; answers its number.

    Nothing changes until the workers are restarted: send SIGHUP to `gateway serve`,
    which replaces them one by one. With several hosts, copy the file
    (GATEWAY_SUBJECT_KEYS_FILE) to all of them first and restart them then: a worker that
    does not know a key yet does not find what was written under it. Keep every old key
    as long as the log.
    """
    try:
        number = rotate(read_settings(RotationSettings).subject_keys_file)
    except BadSetting as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(os.EX_CONFIG) from None
    typer.echo(json.dumps({"subject_key": number}) if as_json else number)

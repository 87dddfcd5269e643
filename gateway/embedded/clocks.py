"""Processes whose wall clock is another: under libfaketime, where the machine has it."""

from pathlib import Path
from typing import Final

_FOLDERS: Final = (Path("/usr/lib"), Path("/usr/local/lib"))
LIBRARY: Final = next(
    (
        found
        for folder in _FOLDERS
        for found in folder.glob("**/faketime/libfaketime.so.1")
    ),
    None,
)


def under(clock: str) -> dict[str, str]:
    """The environment of a process whose wall clock is `+1h`, say, or `@2028-02-29 …`.

    Its monotonic clock is left as it is.
    """
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": clock,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }

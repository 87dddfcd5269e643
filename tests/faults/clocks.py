"""Processes whose wall clock is another: under libfaketime, where the machine has it."""

from pathlib import Path
from typing import Final

import pytest
from typing_extensions import override

from gateway.embedded.valkey import ValkeyServer

_FOLDERS: Final = (Path("/usr/lib"), Path("/usr/local/lib"))
LIBRARY: Final = next(
    (
        found
        for folder in _FOLDERS
        for found in folder.glob("**/faketime/libfaketime.so.1")
    ),
    None,
)
NEEDS_LIBRARY: Final = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime (the Debian package) is not installed here"
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


class ValkeyAt(ValkeyServer):
    """A Valkey whose clock began at an instant of UTC, when it was started."""

    def __init__(self, folder: Path, began: str) -> None:
        super().__init__(folder)
        self._began = began

    @override
    def _command(self) -> list[str]:
        clock = under(f"@{self._began}")
        settings = [f"{name}={value}" for name, value in clock.items()]
        return ["/usr/bin/env", *settings, *super()._command()]

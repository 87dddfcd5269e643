"""Processes whose wall clock is another: under libfaketime, where the machine has it."""

from pathlib import Path
from typing import Final

import pytest
from typing_extensions import override

from gateway.embedded.clocks import LIBRARY, under
from gateway.embedded.valkey import ValkeyServer

NEEDS_LIBRARY: Final = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime (the Debian package) is not installed here"
)


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

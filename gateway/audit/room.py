"""How much room there is on the disk of the log, and what follows from it.

PostgreSQL that cannot write its journal stops, and may not start again before somebody
makes room. So no more is asked of it while there is still some; what it has yet to
write for itself (checkpoints, seals, the directory) then fits.
"""

import os
from enum import Enum
from pathlib import Path
from typing import Final

# Of what an ordinary account may fill: at four fifths used it is told, and of the last
# twentieth nothing is taken.
TOLD_BELOW: Final = 0.20
REFUSED_BELOW: Final = 0.05


class Room(Enum):
    ENOUGH = "enough"
    LITTLE = "little"
    NONE = "none"


def judge(free: float) -> Room:
    """What follows from so large a share of the disk being free, 0 to 1."""
    if free < REFUSED_BELOW:
        return Room.NONE
    return Room.LITTLE if free < TOLD_BELOW else Room.ENOUGH


def share_free(folder: Path) -> float:
    """Of the file system of `folder`, as `df` tells it: what is free of what can be used.

    Raises:
        OSError: there is no such folder, or it cannot be looked at.
    """
    disk = os.statvfs(folder)
    usable = disk.f_blocks - disk.f_bfree + disk.f_bavail
    return disk.f_bavail / usable if usable else 0.0

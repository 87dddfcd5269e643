"""At which share of free disk it is told, and at which nothing more is taken."""

import os
from pathlib import Path

import pytest

from gateway.audit.room import Room, judge, share_free


@pytest.mark.parametrize(
    ("free", "room"),
    [
        (1.0, Room.ENOUGH),
        (0.2, Room.ENOUGH),
        (0.199, Room.LITTLE),
        (0.05, Room.LITTLE),
        (0.049, Room.NONE),
        (0.0, Room.NONE),
    ],
)
def test_four_fifths_are_told_of_and_the_last_twentieth_is_left(
    free: float, room: Room
) -> None:
    assert judge(free) is room


def test_what_is_kept_for_root_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 100 blocks, of which 50 are free, 5 of them for root alone.
    told = os.statvfs_result((4096, 4096, 100, 50, 45, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: told)
    assert share_free(tmp_path) == 45 / 95


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        share_free(tmp_path / "gone")

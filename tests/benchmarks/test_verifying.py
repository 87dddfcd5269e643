"""How fast exports are verified, and in how much memory."""

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

import psutil
import pytest

from gateway.audit.checkpoint import Checkpoint
from gateway.audit.entry import Place, batch_number, leaf_hash, line
from gateway.audit.merkle import Frontier
from gateway.audit.verification import verify
from tests.evidence.big_logs import BEGINNING, SIGNER, write_proof
from tests.evidence.independent import beside
from tests.integration.logs import ORIGIN, any_entry
from tests.written_logs import KEY

pytestmark = pytest.mark.benchmark

MANY: Final = 10_000_000
SOME: Final = 1_000_000
A_BATCH: Final = 50
MOST_MEMORY: Final = 300_000_000


def export(file: Path, lines: int) -> Path:
    """A whole log of so many lines, never in memory: it needs no hashes beside it."""
    chance, frontier = Random(lines), Frontier()  # noqa: S311 - the same log at every run
    with file.open("wb") as written, beside(file, "leaves").open("wb") as leaves:
        for n in range(lines):
            at = BEGINNING + n * 100
            batch = batch_number(BEGINNING + n // A_BATCH * A_BATCH * 100, 1, 0)
            made = line(any_entry(chance, at), Place(batch, n % A_BATCH))
            leaf = leaf_hash(made)
            frontier.add(leaf)
            written.write(made + b"\n")
            leaves.write(leaf)
    head = Checkpoint(ORIGIN, lines, frontier.root())
    of = {"start": 0, "end": lines, "tree_size": lines, "left": [], "right": []}
    write_proof(file, {"range": of, "checkpoint": SIGNER.sign(head)})
    return file


def told(what: str, lines: int, took: float) -> None:
    print(  # noqa: T201 - what is measured
        f"\n{what}: {lines / took:,.0f} lines/s ({lines:,} in {took:.1f} s;"
        f" load {os.getloadavg()[0]:.1f})"
    )


def test_lines_a_second_of_one_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    file = export(tmp_path / "log.ndjson", SOME)
    began = time.perf_counter()
    assert verify([file], [KEY]).true
    told("one core", SOME, time.perf_counter() - began)


def memory(process: psutil.Process) -> int:
    """Of a program and its own processes, what they share counted for each."""
    try:
        family = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)
    except psutil.NoSuchProcess:
        return 0


def test_ten_million_lines_are_verified_in_300_megabytes(tmp_path: Path) -> None:
    file = export(tmp_path / "log.ndjson", MANY)
    began, most = time.perf_counter(), 0
    verifying = subprocess.Popen(  # noqa: S603 - our own program
        [
            sys.executable,
            *("-m", "gateway", "audit", "verify", file, "--key", KEY.text),
        ],
        stdout=subprocess.DEVNULL,
    )
    while verifying.poll() is None:
        most = max(most, memory(psutil.Process(verifying.pid)))
        time.sleep(0.05)
    told("all cores", MANY, time.perf_counter() - began)
    for each in (file, beside(file, "leaves")):
        each.unlink()
    print(f"{most / 1e6:.0f} MB at most, of all its processes")  # noqa: T201 - as above
    assert verifying.returncode == 0
    assert most <= MOST_MEMORY

"""Exports of 100,000 lines: every tampering is found and placed, none is imagined."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

import pytest

from gateway.audit.placing import Kind
from gateway.audit.verification import verify
from tests.evidence import tampering
from tests.evidence.big_logs import SealedLines, write_lines, written
from tests.evidence.independent import check_export
from tests.evidence.notes import VerifierKey
from tests.evidence.tampering import Export
from tests.written_logs import KEY

pytestmark = pytest.mark.slow

SIZE: Final = 120_000
START, END = 7_777, 107_777
TAMPERINGS: Final = 1000
CLEAN: Final = 100
OUTSIDER: Final = VerifierKey.parse(KEY.text)
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - in memory, where there is room


@cache
def log() -> SealedLines:
    return written(SIZE, seed=9162)


@contextmanager
def folder() -> Iterator[Path]:
    """Forty gigabytes are written in all: where it can be, not to a disk."""
    within = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=within) as name:
        yield Path(name)


def spread(numbers: Iterable[int], attempt: Callable[[int], str | None]) -> list[str]:
    """What the attempts that failed say, made on every core."""
    log()  # Made before the processes, which inherit it.
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fork) as pool:
        told = pool.map(attempt, numbers, chunksize=10)
        return [one for one in told if one is not None]


def tampered(seed: int) -> str | None:
    """One tampering, and what is wrong with what the verifier says of it."""
    tamper = tampering.ALL[seed % len(tampering.ALL)]
    with folder() as within:
        file = log().export(within / "log.ndjson", START, END)
        chance = Random(seed)  # noqa: S311 - a failure can be made again
        kinds, line = tamper(Export(log(), file, START, END), chance)
        flaws = verify([file], [KEY]).flaws
    places = [(flaw.line, flaw.leaf_index) for flaw in flaws]
    expected = (None, None) if line is None else (line + 1, START + line)
    if places == [expected] and flaws[0].kind in kinds:
        return None
    return f"seed {seed}, {tamper.__name__}: {expected} {kinds}, but {flaws}"


def test_each_of_1000_tamperings_with_100000_entries_is_found_and_placed() -> None:
    assert spread(range(TAMPERINGS), tampered) == []


def clean(seed: int) -> str | None:
    """An export of any range, in one file or in several that join."""
    chance = Random(seed)  # noqa: S311 - a failure can be made again
    start, end = sorted(chance.sample(range(SIZE + 1), 2))
    cuts = sorted({start, end, *chance.choices(range(start, end), k=seed % 5)})
    with folder() as within:
        files = [log().export(within / f"{a}-{b}", a, b) for a, b in pairwise(cuts)]
        chance.shuffle(files)
        verdict = verify(files, [KEY])
        lines = sum(len(check_export(file, [OUTSIDER])) for file in files)
    if verdict.true and lines == end - start:
        return None
    return f"seed {seed}: leaves {cuts}: {verdict.flaws}"


def test_there_is_no_false_alarm_in_100_clean_exports() -> None:
    assert spread(range(CLEAN), clean) == []


def test_a_day_that_was_exchanged_for_another_with_its_proof_leaves_a_gap() -> None:
    days = [*pairwise(log().days)]
    with folder() as within:
        files = [log().export(within / str(a), a, b) for a, b in days]
        assert verify(files, [KEY]).true
        log().export(files[1], *days[2])
        (flaw,) = verify(files, [KEY]).flaws
        assert (flaw.kind, flaw.leaf_index) == (Kind.REMOVED, days[1][0])


def test_a_day_whose_lines_alone_were_exchanged_is_wrong_from_its_first() -> None:
    (_, (start, end), (other, past)) = pairwise(log().days)
    with folder() as within:
        file = log().export(within / "day", start, end)
        write_lines(file, log().lines[other:past])
        (flaw,) = verify([file], [KEY]).flaws
        assert (flaw.line, flaw.leaf_index) == (1, start)


def test_a_tail_cut_off_with_its_proof_made_to_fit_is_missed_by_the_next_file() -> None:
    # Whoever has all leaves can make a true export of fewer. By itself it is true.
    start, middle, _, _ = log().days
    with folder() as within:
        one = log().export(within / "one", start, middle - 500)
        assert verify([one], [KEY]).true
        other = log().export(within / "other", middle, SIZE)
        (flaw,) = verify([one, other], [KEY]).flaws
        assert (flaw.kind, flaw.leaf_index) == (Kind.REMOVED, middle - 500)

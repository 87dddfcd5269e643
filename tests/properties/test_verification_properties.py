"""The verifier over exports of any size and alignment: no false alarm, no miss."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audit import exported
from gateway.audit.folding import Fold, subtrees
from gateway.audit.verification import Export, verify
from tests.written_logs import KEY, WrittenLog, beside, leaf, tree_hash

LEAVES = [leaf(number.to_bytes(2)) for number in range(600)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported, "BLOCK", 2_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.ndjson"


def judged(file: Path) -> Export:
    (export,) = verify([file], [KEY]).exports
    return export


def test_a_clean_export_of_any_range_of_small_logs_is_true(file: Path) -> None:
    for size in range(1, 12):
        log = WrittenLog(size)
        for start in range(size):
            for end in range(start + 1, size + 1):
                assert judged(log.export(file, start, end)).flaw is None


def test_fifty_clean_exports_of_random_ranges_give_no_false_alarm(file: Path) -> None:
    random = Random(50)  # noqa: S311 - the same ranges at every run
    for _ in range(50):
        size = random.randint(1, 600)
        start = random.randrange(size)
        end = random.randint(start + 1, size)
        export = judged(WrittenLog(size).export(file, start, end))
        assert (export.flaw, export.lines) == (None, end - start)


def test_folding_gives_the_root_for_every_range_of_every_small_log() -> None:
    for size in range(1, 41):
        root = tree_hash(LEAVES[:size])
        for start in range(size):
            for end in range(start + 1, size + 1):
                left, right = beside(LEAVES[:size], start, end)
                fold = Fold(start, left)
                fold.add(subtrees(start, b"".join(LEAVES[start:end])))
                assert fold.root(size, right) == root


def cuts(start: int, end: int, random: Random) -> Iterator[tuple[int, int]]:
    while start < end:
        past = min(end, start + random.randint(1, 90))
        yield start, past
        start = past


def test_the_fold_does_not_depend_on_where_blocks_end() -> None:
    random = Random(7)  # noqa: S311 - the same blocks at every run
    for size in range(1, 601, 13):
        start = random.randrange(size)
        end = random.randint(start + 1, size)
        left, right = beside(LEAVES[:size], start, end)
        fold = Fold(start, left)
        for first, past in cuts(start, end, random):
            fold.add(subtrees(first, b"".join(LEAVES[first:past])))
        assert fold.root(size, right) == tree_hash(LEAVES[:size])


LOG = WrittenLog(150)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_other_bytes_than_the_sealed_ones_are_false(
    file: Path, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, 149))
    end = data.draw(st.integers(start + 1, 150))
    LOG.export(file, start, end)
    content = file.read_bytes()
    at = data.draw(st.integers(0, len(content)))
    past = data.draw(st.integers(at, min(at + 500, len(content))))
    other = data.draw(st.binary(max_size=40))
    altered = content[:at] + other + content[past:]
    file.write_bytes(altered)
    flaw = judged(file).flaw
    assert (flaw is None) == (altered == content)
    if flaw is not None:
        first = next(
            (
                n
                for n, (a, b) in enumerate(zip(altered, content, strict=False))
                if a != b
            ),
            min(len(altered), len(content)),
        )
        assert flaw.line == content[:first].count(b"\n") + 1


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_other_proof_makes_the_same_lines_true(
    file: Path, data: st.DataObject
) -> None:
    LOG.export(file, 37, 101)
    proof = LOG.proof(37, 101)
    described = proof["range"]
    member = data.draw(st.sampled_from(sorted(described)))
    if member in {"left", "right"}:
        at = data.draw(st.integers(0, len(described[member]) - 1))
        swapped = described["left"][0] if member == "right" else described["right"][0]
        described[member][at] = swapped
    else:
        described[member] += data.draw(st.integers(-200, 200).filter(bool))
    Path(f"{file}.proof.json").write_text(json.dumps(proof))
    assert judged(file).flaw is not None

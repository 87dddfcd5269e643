"""The offline verifier: what is true is called true, what is not is named."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit import exported, verification
from gateway.audit.checkpoint import NoteKey
from gateway.audit.folding import leaf_hashes
from gateway.audit.placing import Kind
from gateway.audit.proof import CannotTell, read_keys
from gateway.audit.verification import Flaw, verify
from tests.written_logs import KEY, ORIGIN, WrittenLog, line, sign

LOG = WrittenLog(3000)
START, END = 613, 2613
COUNT = END - START
ANOTHER_KEY = NoteKey(
    ORIGIN,
    Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw(),
)

Lines = list[bytes]
# The kinds that name a mutation rightly, and the first wrong line, counted from 0.
Expected = tuple[set[Kind], int]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    return LOG.export(folder / "log.ndjson", START, END)


@pytest.fixture
def file(written: Path) -> Path:
    """The export of 2,000 lines that do not begin at leaf 0, as it was written."""
    written.write_bytes(b"".join(one + b"\n" for one in LOG.lines[START:END]))
    Path(f"{written}.leaves").write_bytes(b"".join(LOG.leaves[START:END]))
    Path(f"{written}.proof.json").write_text(json.dumps(LOG.proof(START, END)))
    return written


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the 2,000 lines lie in many blocks, as millions would."""
    monkeypatch.setattr(exported, "BLOCK", 10_000)


def flip_bit(lines: Lines, random: Random) -> Expected:
    at = random.randrange(COUNT)
    changed = bytearray(lines[at])
    place = random.randrange(len(changed))
    changed[place] ^= 1 << random.randrange(7)
    if b"\n" in changed:
        changed[place] ^= 3
    lines[at] = bytes(changed)
    return {Kind.CHANGED}, at


def delete(lines: Lines, random: Random) -> Expected:
    at, many = random.randrange(COUNT - 10), random.randrange(1, 10)
    del lines[at : at + many]
    return {Kind.REMOVED}, at


def insert(lines: Lines, random: Random) -> Expected:
    at = random.randrange(COUNT)
    lines.insert(at, line(random.randrange(10**6, 10**7)))
    return {Kind.ADDED}, at


def repeat(lines: Lines, random: Random) -> Expected:
    at, other = random.randrange(COUNT), random.randrange(COUNT)
    # After itself a line can stand twice: the second of the two is the added one.
    lines.insert(at, lines[other])
    return {Kind.ADDED}, at + (at == other)


def append(lines: Lines, random: Random) -> Expected:
    lines.append(line(random.randrange(10**6, 10**7)))
    return {Kind.ADDED}, COUNT


def swap(lines: Lines, random: Random) -> Expected:
    one, other = sorted(random.sample(range(COUNT), 2))
    lines[one], lines[other] = lines[other], lines[one]
    return {Kind.SWAPPED}, one


def move(lines: Lines, random: Random) -> Expected:
    one, other = sorted(random.sample(range(COUNT), 2))
    lines.insert(one, lines.pop(other))
    return {Kind.SWAPPED}, one


def copy_over(lines: Lines, random: Random) -> Expected:
    one, other = random.sample(range(COUNT), 2)
    lines[one] = lines[other]
    return {Kind.CHANGED}, one


def cut_tail(lines: Lines, random: Random) -> Expected:
    at = random.randrange(COUNT)
    del lines[at:]
    return {Kind.CUT_OFF}, at


def replace_block(lines: Lines, random: Random) -> Expected:
    at, many = random.randrange(COUNT - 300), random.randrange(2, 300)
    lines[at : at + many] = [line(10**8 + number) for number in range(many)]
    return {Kind.CHANGED}, at


MUTATIONS = [
    flip_bit,
    delete,
    insert,
    repeat,
    append,
    swap,
    move,
    copy_over,
    cut_tail,
    replace_block,
]


def only_flaw(file: Path) -> Flaw:
    verdict = verify([file], [KEY])
    assert not verdict.true
    (flaw,) = verdict.flaws
    return flaw


def test_an_untouched_export_is_true(file: Path) -> None:
    told: list[tuple[int, int]] = []
    verdict = verify([file], [KEY], lambda done, of: told.append((done, of)))
    assert verdict.true
    assert verdict.exports[0].lines == COUNT
    assert told[-1] == (file.stat().st_size, file.stat().st_size)
    assert len(told) > 10


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_every_mutation_is_found_and_its_first_line_named(
    file: Path, mutate: Callable[[Lines, Random], Expected]
) -> None:
    random = Random(mutate.__name__)  # noqa: S311 - the same ones at every run
    for _ in range(20):
        lines = LOG.lines[START:END]
        kinds, at = mutate(lines, random)
        file.write_bytes(b"".join(one + b"\n" for one in lines))
        flaw = only_flaw(file)
        assert flaw.kind in kinds
        assert (flaw.line, flaw.leaf_index) == (at + 1, START + at)


def test_the_entry_that_was_changed_is_named_by_its_access_id(file: Path) -> None:
    lines = LOG.lines[START:END]
    lines[7] = lines[7].replace(b'"count":1', b'"count":0')
    file.write_bytes(b"".join(one + b"\n" for one in lines))
    flaw = only_flaw(file)
    assert flaw.access_id == named(START + 7)
    assert flaw.access_id in flaw.sentence


def named(leaf: int) -> str:
    return f"019ab1c2-0000-7000-8000-{leaf:012x}"


@pytest.mark.parametrize("mutate", [swap, move])
def test_the_entry_that_belongs_where_another_stands_is_named(
    file: Path, mutate: Callable[[Lines, Random], Expected]
) -> None:
    lines = LOG.lines[START:END]
    _, at = mutate(lines, Random(mutate.__name__))  # noqa: S311 - as above
    file.write_bytes(b"".join(one + b"\n" for one in lines))
    assert only_flaw(file).access_id == named(START + at)


@pytest.mark.parametrize("mutate", [delete, copy_over, cut_tail])
def test_an_entry_that_is_in_the_file_no_more_is_not_given_anothers_name(
    file: Path, mutate: Callable[[Lines, Random], Expected]
) -> None:
    random = Random(mutate.__name__)  # noqa: S311 - as above
    for _ in range(20):
        lines = LOG.lines[START:END]
        mutate(lines, random)
        file.write_bytes(b"".join(one + b"\n" for one in lines))
        flaw = only_flaw(file)
        assert flaw.access_id is None
        assert "access_id" not in flaw.sentence


@pytest.mark.parametrize("kept", [0, 1, 5000, -1, -2, -100])
def test_a_file_cut_at_any_byte_is_cut_off_at_that_line(file: Path, kept: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:kept])
    flaw = only_flaw(file)
    assert flaw.kind is Kind.CUT_OFF
    assert flaw.line == content[:kept].count(b"\n") + 1


def test_without_leaves_a_fault_is_found_but_not_placed(file: Path) -> None:
    Path(f"{file}.leaves").unlink()
    assert verify([file], [KEY]).true
    lines = LOG.lines[START:END]
    lines[5], lines[6] = lines[6], lines[5]
    file.write_bytes(b"".join(one + b"\n" for one in lines))
    flaw = only_flaw(file)
    assert flaw.kind is Kind.ALTERED
    assert flaw.line is None


def test_leaves_made_to_fit_altered_lines_hide_nothing(file: Path) -> None:
    lines = LOG.lines[START:END]
    lines[9] = line(10**9)
    file.write_bytes(b"".join(one + b"\n" for one in lines))
    leaves = b"".join(leaf_hashes([one]) for one in lines)
    Path(f"{file}.leaves").write_bytes(leaves)
    assert only_flaw(file).kind is Kind.ALTERED


def test_a_line_without_end_is_read_in_bounded_pieces(file: Path) -> None:
    file.write_bytes(b"x" * 1_000_000)
    flaw = only_flaw(file)
    assert (flaw.kind, flaw.line) == (Kind.CHANGED, 1)


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    proof = LOG.proof(START, END)
    change(proof)
    Path(f"{file}.proof.json").write_text(json.dumps(proof))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_proof_with_too_many_or_too_few_hashes_is_refused(
    file: Path, side: str, times: int
) -> None:
    def reshape(proof: dict[str, Any]) -> None:
        proof["range"][side][:1] *= times

    rewrite(file, reshape)
    assert only_flaw(file).kind is Kind.UNPROVEN


@pytest.mark.parametrize("member", ["start", "end"])
@pytest.mark.parametrize("by", [-1, 1, 64])
def test_a_range_moved_by_any_number_of_leaves_is_refused(
    file: Path, member: str, by: int
) -> None:
    def shift(proof: dict[str, Any]) -> None:
        proof["range"][member] += by

    rewrite(file, shift)
    assert not verify([file], [KEY]).true


def test_a_range_outside_the_signed_log_is_refused(file: Path) -> None:
    rewrite(file, lambda proof: proof["range"].update(tree_size=2999))
    assert only_flaw(file).kind is Kind.UNPROVEN


def test_only_the_logs_own_signature_counts(file: Path) -> None:
    assert verify([file], [ANOTHER_KEY]).flaws[0].kind is Kind.UNSIGNED
    assert verify([file], [ANOTHER_KEY, KEY]).true


def test_a_checkpoint_altered_after_signing_is_refused(file: Path) -> None:
    note = LOG.note.replace("\n3000\n", "\n3001\n")
    rewrite(file, lambda proof: proof.update(checkpoint=note))
    assert only_flaw(file).kind is Kind.UNSIGNED


def test_a_note_of_another_log_signed_by_the_key_is_refused(file: Path) -> None:
    text = LOG.note.partition("\n\n")[0].replace(ORIGIN, "log.example/other")
    note = sign(f"{text}\n")
    rewrite(file, lambda proof: proof.update(checkpoint=note))
    assert only_flaw(file).kind is Kind.UNSIGNED


def test_ranges_that_touch_or_overlap_join(tmp_path: Path) -> None:
    files = [
        LOG.export(tmp_path / "b", 200, 450),
        LOG.export(tmp_path / "a", 0, 200),
        LOG.export(tmp_path / "c", 430, 500),
    ]
    verdict = verify(files, [KEY])
    assert verdict.true
    assert [export.file.name for export in verdict.exports] == ["a", "b", "c"]


def test_a_gap_between_ranges_is_named(tmp_path: Path) -> None:
    one = LOG.export(tmp_path / "a", 0, 200)
    other = LOG.export(tmp_path / "b", 207, 450)
    (flaw,) = verify([one, other], [KEY]).flaws
    assert (flaw.kind, flaw.leaf_index, flaw.file) == (Kind.REMOVED, 200, other)
    assert "200 to 206" in flaw.sentence


def test_two_signed_heads_of_one_size_are_called_a_fork(tmp_path: Path) -> None:
    one = LOG.export(tmp_path / "a", 0, 100)
    twin = WrittenLog(3000)
    twin.lines[2900] = line(10**9)
    other = twin.export(tmp_path / "b", 100, 200)
    (flaw,) = verify([one, other], [KEY]).flaws
    assert flaw.kind is Kind.FORKED


@pytest.mark.parametrize("suffix", ["", ".proof.json"])
def test_a_missing_file_leaves_the_question_open(file: Path, suffix: str) -> None:
    Path(f"{file}{suffix}").unlink()
    with pytest.raises(CannotTell, match="No such file"):
        verify([file], [KEY])


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "[]",
        "{",
        '{"range": 1, "checkpoint": ""}',
        json.dumps(LOG.proof(START, END) | {"checkpoint": 5}),
        json.dumps(LOG.proof(START, END) | {"checkpoint": "\ud800"}),
        json.dumps(LOG.proof(START, END)).replace('"start": 613', '"start": true'),
        json.dumps(LOG.proof(START, END)).replace("=", "", 1),
    ],
)
def test_what_is_no_proof_leaves_the_question_open(file: Path, proof: str) -> None:
    Path(f"{file}.proof.json").write_text(proof)
    with pytest.raises(CannotTell, match="not the proof of an export"):
        verify([file], [KEY])


def test_keys_are_read_from_a_file_or_as_they_stand(tmp_path: Path) -> None:
    held = tmp_path / "keys"
    held.write_text(f"{ANOTHER_KEY.text}\n{KEY.text}\n")
    assert read_keys(str(held)) == [ANOTHER_KEY, KEY]
    assert read_keys(KEY.text) == [KEY]


@pytest.mark.parametrize("text", ["", "nonsense", f"{KEY.text}\nnonsense\n"])
def test_a_bad_key_leaves_the_question_open(tmp_path: Path, text: str) -> None:
    held = tmp_path / "keys"
    held.write_text(text)
    with pytest.raises(CannotTell):
        read_keys(str(held))
    with pytest.raises(CannotTell):
        read_keys(text)


def test_several_processes_judge_as_one_does(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert verify([file], [KEY]).true
    lines = LOG.lines[START:END]
    del lines[1500]
    file.write_bytes(b"".join(one + b"\n" for one in lines))
    flaw = only_flaw(file)
    assert (flaw.kind, flaw.line) == (Kind.REMOVED, 1501)


def test_a_process_that_dies_leaves_the_question_open(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(verification, "digest", _die)
    with pytest.raises(CannotTell, match="broken off"):
        verify([file], [KEY])


def _die(*_: object) -> None:
    os._exit(9)

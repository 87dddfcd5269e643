"""The outsider's verifier itself: it takes what is published, and refuses the rest."""

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.audit import merkle
from gateway.audit.checkpoint import Checkpoint, Signer
from gateway.audit.cosignature import Cosigner
from gateway.audit.merkle import Frontier, Node
from gateway.audit.sealed import Receipt
from gateway.audit.tree import Head
from tests.evidence import published
from tests.evidence.independent import (
    check_export,
    check_grown,
    check_history,
    check_receipt,
)
from tests.evidence.notes import VerifierKey, cosigned_at, opened, read_note
from tests.evidence.trees import (
    Refused,
    check_consistency,
    inclusion_root,
    leaf,
    range_root,
    roots,
)
from tests.written_logs import ORIGIN, WrittenLog, encoded, line

MOST = 130
LEAVES = [leaf(line(number)) for number in range(MOST)]
ROOTS = [root for _, root in roots(LEAVES, range(MOST + 1))]
SIGNER = Signer(ORIGIN, bytes(range(32)))
KEY = VerifierKey.parse(SIGNER.key.text)
NOTES = [SIGNER.sign(Checkpoint(ORIGIN, n, root)) for n, root in enumerate(ROOTS)]

_frontier = Frontier()
NODES = dict(pair for one in LEAVES for pair in _frontier.add(one))


def subtree(level: int, number: int) -> bytes:
    return NODES[Node(level, number)]


def from_hex(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_published_roots_and_proofs_are_taken() -> None:
    leaves = [leaf(one) for one in published.LEAVES]
    known = {size: bytes.fromhex(text) for size, text in published.ROOTS.items()}
    assert dict(roots(leaves, range(9))) == {n: known[n] for n in range(9)}
    for (index, size), path in published.INCLUSIONS.items():
        root = inclusion_root(index, size, leaves[index], from_hex(path))
        assert root == known[size]
    for (old, new), path in published.CONSISTENCIES.items():
        check_consistency(old, known[old], new, known[new], from_hex(path))


def test_a_published_note_is_signed_by_its_published_key() -> None:
    key = VerifierKey.parse(published.NOTE_KEY)
    text, ((name, id_, signature),) = read_note(published.NOTE)
    assert (name, id_) == (key.name, key.id)
    assert key.signed(signature, text.encode())
    assert not key.signed(signature, text.replace("know", "knew").encode())


def test_a_published_cosignature_is_taken_and_is_over_the_whole_head() -> None:
    witness = VerifierKey.parse(published.COSIGNER_KEY)
    assert cosigned_at(published.COSIGNED, witness) == published.COSIGNED_AT
    with pytest.raises(Refused, match="wrong signature"):
        cosigned_at(published.COSIGNED.replace("1432088532", "1432088533"), witness)
    with pytest.raises(Refused, match="not cosigned"):
        cosigned_at(NOTES[7], witness)


def test_a_note_of_ours_with_a_cosignature_of_ours_is_taken() -> None:
    cosigner = Cosigner("witness.example/w1", bytes(range(1, 33)))
    text = Checkpoint(ORIGIN, 7, ROOTS[7]).text
    note = f"{NOTES[7]}{cosigner.cosign(text, 1_764_000_000)}\n"
    assert opened(note, [KEY]) == (ORIGIN, 7, ROOTS[7])
    assert cosigned_at(note, VerifierKey.parse(cosigner.key.text)) == 1_764_000_000


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("\n7\n", "\n8\n"),
        ("\n7\n", "\n07\n"),
        (f"{ORIGIN}\n7", "log.example/other\n7"),
        ("\u2014", "-"),
        ("\n\n", "\n"),
        ("=\n\n", "=\nan extension\n\n"),
        (f"\u2014 {ORIGIN}", "\u2014 another"),
    ],
)
def test_a_note_altered_anywhere_is_refused(was: str, becomes: str) -> None:
    assert opened(NOTES[7], [KEY]).size == 7
    assert was in NOTES[7]
    with pytest.raises(Refused):
        opened(NOTES[7].replace(was, becomes, 1), [KEY])


def test_a_key_whose_id_is_not_its_hash_is_refused() -> None:
    with pytest.raises(Refused, match="id"):
        VerifierKey.parse(SIGNER.key.text.replace(ORIGIN, "log.example/other"))
    other = VerifierKey.parse(Signer(ORIGIN, bytes(32)).key.text)
    with pytest.raises(Refused, match="not signed by the log"):
        opened(NOTES[7], [other])


def test_every_inclusion_proof_of_every_size_is_taken() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            path = merkle.inclusion_proof(index, size, subtree)
            assert inclusion_root(index, size, LEAVES[index], path) == ROOTS[size]


def test_every_consistency_proof_between_any_two_sizes_is_taken() -> None:
    for new in range(MOST + 1):
        for old in range(new + 1):
            path = merkle.consistency_proof(old, new, subtree)
            check_consistency(old, ROOTS[old], new, ROOTS[new], path)


def test_range_proofs_of_every_size_are_taken() -> None:
    random = Random(9162)  # noqa: S311 - the same ranges at every run
    for size in range(1, MOST + 1):
        for _ in range(12):
            start = random.randrange(size)
            end = random.randint(start + 1, size)
            left, right = merkle.range_proof(start, end, size, subtree)
            within = LEAVES[start:end]
            assert range_root(start, size, within, left, right) == ROOTS[size]


def altered(path: list[bytes], random: Random) -> list[bytes]:
    """A path with one bit flipped, or a hash too many, too few or out of place."""
    at = random.randrange(len(path))
    flipped = bytearray(path[at])
    flipped[random.randrange(32)] ^= 1 << random.randrange(8)
    ways = [
        [*path[:at], bytes(flipped), *path[at + 1 :]],
        path[:at] + path[at + 1 :],
        [*path[:at], path[at], *path[at:]],
        [*path[1:], path[0]],
    ]
    return random.choice([way for way in ways if way != path])


def test_no_altered_path_leads_to_the_root() -> None:
    random = Random(6962)  # noqa: S311 - the same paths at every run
    for _ in range(2000):
        size = random.randint(2, MOST)
        index = random.randrange(size)
        path = altered(merkle.inclusion_proof(index, size, subtree), random)
        with suppress(Refused):
            assert inclusion_root(index, size, LEAVES[index], path) != ROOTS[size]
        old = random.randrange(1, size)
        path = altered(merkle.consistency_proof(old, size, subtree), random)
        with pytest.raises(Refused):
            check_consistency(old, ROOTS[old], size, ROOTS[size], path)


def test_a_tree_that_is_not_the_past_of_another_is_refused() -> None:
    other = [*LEAVES[:40], leaf(b"another"), *LEAVES[41:]]
    forked = dict(roots(other, range(1, MOST + 1)))
    for old in range(41, MOST):
        path = merkle.consistency_proof(old, MOST, subtree)
        with pytest.raises(Refused):
            check_consistency(old, forked[old], MOST, ROOTS[MOST], path)
    with pytest.raises(Refused, match="two roots of one size"):
        check_consistency(50, ROOTS[50], 50, forked[50], [])


def receipt(index: int, size: int) -> dict[str, Any]:
    path = merkle.inclusion_proof(index, size, subtree)
    head = Head(size, ROOTS[size], NOTES[size])
    return dict(Receipt(line(index), index, head, path).document)


RECEIPT = receipt(37, 101)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["entry"], line(38).decode()),
        (["entry"], line(37).decode() + "\n"),
        (["entry"], None),
        (["leaf_index"], 36),
        (["leaf_index"], 101),
        (["leaf_index"], -1),
        (["leaf_index"], True),
        (["leaf_index"], "37"),
        (["proof"], []),
        (["proof", "tree_size"], 100),
        (["proof", "hashes"], None),
        (["proof", "hashes"], []),
        (["proof", "hashes", 0], 5),
        (["proof", "hashes", 0], ""),
        (["proof", "hashes", 0], encoded([LEAVES[0]])[0]),
        (["checkpoint"], NOTES[100]),
        (["checkpoint"], ""),
    ],
)
def test_a_receipt_altered_anywhere_is_refused(path: list[Any], value: object) -> None:
    assert check_receipt(RECEIPT, [KEY]) == (ORIGIN, 101, ROOTS[101])
    document = json.loads(json.dumps(RECEIPT))
    *steps, last = path
    held = document
    for step in steps:
        held = held[step]
    held[last] = value
    with pytest.raises(Refused):
        check_receipt(document, [KEY])


def test_an_older_head_is_the_past_of_a_newer_one_by_its_own_proof_alone() -> None:
    old, new = opened(NOTES[60], [KEY]), opened(NOTES[90], [KEY])
    path = encoded(merkle.consistency_proof(60, 90, subtree))
    check_grown({"from": 60, "to": 90, "hashes": path}, old, new)
    with pytest.raises(Refused, match="other heads"):
        check_grown({"from": 61, "to": 90, "hashes": path}, old, new)
    stranger = new._replace(origin="log.example/other")
    with pytest.raises(Refused, match="two logs"):
        check_grown({"from": 60, "to": 90, "hashes": path}, old, stranger)


def test_heads_are_of_one_history_or_are_refused() -> None:
    lines = [line(number).decode() for number in range(MOST)]
    heads = [*check_history(lines, [NOTES[n] for n in (90, 3, 90, 130)], [KEY])]
    assert [head.size for head in heads] == [3, 90, 90, 130]
    with pytest.raises(Refused, match="another log"):
        [*check_history([*lines[:2], "another", *lines[3:]], NOTES[90:91], [KEY])]
    with pytest.raises(Refused, match="no 130 leaves"):
        [*check_history(lines[:-1], NOTES[130:], [KEY])]


def test_an_export_is_taken_and_what_is_altered_in_it_is_refused(
    tmp_path: Path,
) -> None:
    log = WrittenLog(101)
    file = log.export(tmp_path / "log.ndjson", 11, 77)
    sealed = file.read_bytes()
    assert check_export(file, [KEY]) == sealed.decode().splitlines()
    lines = sealed.splitlines(keepends=True)
    swapped = [*lines[:5], lines[6], lines[5], *lines[7:]]
    for content in (lines[1:], lines[:-1], [*lines, lines[0]], swapped, []):
        file.write_bytes(b"".join(content))
        with pytest.raises(Refused):
            check_export(file, [KEY])
    file.write_bytes(sealed[:-1])
    with pytest.raises(Refused, match="no end"):
        check_export(file, [KEY])
    file.write_bytes(sealed)
    leaves = Path(f"{file}.leaves")
    leaves.write_bytes(leaves.read_bytes()[32:])
    with pytest.raises(Refused, match="other leaves"):
        check_export(file, [KEY])

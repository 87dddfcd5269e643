"""Checks receipts, proofs and exports as an outsider would, with nothing of ours.

Written from CONTRACT §4 and the texts it names. An architecture test holds that neither
this nor what it imports has anything of the gateway in it: a mistake of the gateway
must not be made a second time by what judges it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.evidence.notes import Checkpoint, VerifierKey, decoded, opened
from tests.evidence.trees import (
    Refused,
    check_consistency,
    inclusion_root,
    leaf,
    range_root,
    require,
    roots,
)

_HASH_BYTES = 32

Document = Mapping[str, Any]


def hashes(given: object) -> list[bytes]:
    """The hashes of a proof, each in base64."""
    if not isinstance(given, list):
        raise Refused("the hashes of a proof are a list")
    found = [decoded(one) for one in given if isinstance(one, str)]
    require(len(found) == len(given), "a hash of a proof is text")
    require({len(one) for one in found} <= {_HASH_BYTES}, "not a hash")
    return found


def number(document: Document, member: str) -> int:
    value = document.get(member)
    # To Python a bool is an int, to JSON it is none.
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"{member} is not a whole number")
    return value


def text(document: Document, member: str) -> str:
    value = document.get(member)
    if not isinstance(value, str):
        raise Refused(f"{member} is not text")
    return value


def inner(document: Document, member: str) -> Document:
    value = document.get(member)
    if not isinstance(value, dict):
        raise Refused(f"{member} is not an object")
    return value


def check_receipt(receipt: Document, keys: Sequence[VerifierKey]) -> Checkpoint:
    """That the entry of a receipt is in the log at its place; the head it is under.

    Raises:
        Refused: it is not, or this does not show it.
    """
    checkpoint = opened(text(receipt, "checkpoint"), keys)
    entry, proof = text(receipt, "entry"), inner(receipt, "proof")
    require("\n" not in entry, "an entry is one line")
    size = number(proof, "tree_size")
    require(size == checkpoint.size, "the proof is of another head")
    index, path = number(receipt, "leaf_index"), hashes(proof.get("hashes"))
    root = inclusion_root(index, size, leaf(entry.encode()), path)
    require(root == checkpoint.root, "the entry is not in the log at this place")
    return checkpoint


def check_inclusion(proof: Document, hash_: bytes, checkpoint: Checkpoint) -> None:
    """What GET /log/proof/inclusion gives. Raises Refused."""
    size = number(proof, "tree_size")
    require(size == checkpoint.size, "the proof is of another head")
    path = hashes(proof.get("hashes"))
    root = inclusion_root(number(proof, "leaf_index"), size, hash_, path)
    require(root == checkpoint.root, "the leaf is not in the log at this place")


def check_grown(proof: Document, old: Checkpoint, new: Checkpoint) -> None:
    """What GET /log/proof/consistency gives: one head is the other's past.

    Raises:
        Refused: it is not, or this does not show it.
    """
    require(old.origin == new.origin, "two heads of two logs")
    sizes = number(proof, "from"), number(proof, "to")
    require(sizes == (old.size, new.size), "the proof is of other heads")
    path = hashes(proof.get("hashes"))
    check_consistency(old.size, old.root, new.size, new.root, path)


def check_range(
    proof: Document, leaves: Sequence[bytes], checkpoint: Checkpoint
) -> None:
    """What GET /log/proof/range gives, with the hashes of its leaves. Raises Refused."""
    start, end = number(proof, "start"), number(proof, "end")
    require(end - start == len(leaves), "the range has more or fewer leaves")
    size = number(proof, "tree_size")
    require(size == checkpoint.size, "the proof is of another head")
    left, right = hashes(proof.get("left")), hashes(proof.get("right"))
    root = range_root(start, size, leaves, left, right)
    require(root == checkpoint.root, "the range is not in the log at this place")


def check_export(file: Path, keys: Sequence[VerifierKey]) -> list[str]:
    """FILE by FILE.proof.json, and FILE.leaves if it is there; its lines.

    Raises:
        Refused: they are not what was sealed, or this does not show it.
    """
    proof = json.loads(beside(file, "proof.json").read_bytes())
    checkpoint = opened(text(proof, "checkpoint"), keys)
    lines = file.read_bytes().split(b"\n")
    require(not lines.pop(), "the last line has no end")
    leaves = [leaf(line) for line in lines]
    check_range(inner(proof, "range"), leaves, checkpoint)
    told = beside(file, "leaves")
    if told.exists():
        require(told.read_bytes() == b"".join(leaves), "other leaves than the lines'")
    return [line.decode() for line in lines]


def beside(file: Path, ending: str) -> Path:
    return file.with_name(f"{file.name}.{ending}")


def check_history(
    lines: Sequence[str], notes: Sequence[str], keys: Sequence[VerifierKey]
) -> Iterator[Checkpoint]:
    """That every one of these heads is the root over the beginning of the same lines.

    So each is the past of every later one.

    Raises:
        Refused: one is not.
    """
    heads = sorted(
        (opened(note, keys) for note in notes), key=lambda head: (head.size, head.root)
    )
    leaves = (leaf(line.encode()) for line in lines)
    found = roots(leaves, [head.size for head in heads])
    for head, (size, root) in zip(heads, found, strict=True):
        require(root == head.root, f"the head of {size} leaves is of another log")
        yield head

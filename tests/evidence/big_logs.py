"""A log of real lines over three days, sealed without a database."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from gateway.audit import merkle
from gateway.audit.checkpoint import Checkpoint, Signer
from gateway.audit.entry import Place, batch_number, leaf_hash, line
from gateway.audit.merkle import Frontier, Node
from gateway.audit.sealed import encoded
from gateway.clock import SECOND
from tests.evidence.independent import beside
from tests.integration.logs import ORIGIN, any_entry

DAY: Final = 86_400 * SECOND
DAYS: Final = 3
# 2026-11-22 in Jakarta.
BEGINNING: Final = 1_795_280_400 * SECOND
SIGNER: Final = Signer(ORIGIN, bytes(range(32)))


@dataclass(frozen=True)
class SealedLines:
    """Lines, the tree over them, and where each day begins and the last ends."""

    lines: list[bytes]
    leaves: list[bytes]
    nodes: dict[Node, bytes]
    days: list[int]
    note: str

    def proof(self, start: int, end: int) -> dict[str, Any]:
        """FILE.proof.json of a range of the leaves."""
        size = len(self.lines)
        left, right = merkle.range_proof(start, end, size, self._subtree)
        of = {"start": start, "end": end, "tree_size": size}
        hashes = {"left": encoded(left), "right": encoded(right)}
        return {"range": of | hashes, "checkpoint": self.note}

    def _subtree(self, level: int, number: int) -> bytes:
        return self.nodes[Node(level, number)]

    def export(self, file: Path, start: int, end: int) -> Path:
        write_lines(file, self.lines[start:end])
        beside(file, "leaves").write_bytes(b"".join(self.leaves[start:end]))
        write_proof(file, self.proof(start, end))
        return file


def write_lines(file: Path, lines: Sequence[bytes]) -> None:
    file.write_bytes(b"\n".join([*lines, b""]))


def write_proof(file: Path, proof: dict[str, Any]) -> None:
    beside(file, "proof.json").write_text(json.dumps(proof))


def sealed(lines: list[bytes], days: list[int], signer: Signer) -> SealedLines:
    """The tree over lines, and its head signed by whoever holds the signer."""
    frontier = Frontier()
    nodes: dict[Node, bytes] = {}
    leaves = [leaf_hash(one) for one in lines]
    for leaf in leaves:
        nodes.update(frontier.add(leaf))
    head = Checkpoint(ORIGIN, frontier.size, frontier.root())
    return SealedLines(lines, leaves, nodes, days, signer.sign(head))


def written(size: int, seed: int) -> SealedLines:
    """That many entries of every kind, in batches, over three days."""
    chance = Random(seed)  # noqa: S311 - the same log at every run
    instants = sorted(BEGINNING + chance.randrange(DAYS * DAY) for _ in range(size))
    lines, batch, first = [], 0, 0
    for n, at in enumerate(instants):
        if n == first or n - first > chance.randrange(100):
            batch, first = batch_number(at, chance.randrange(2048), n % 1024), n
        lines.append(line(any_entry(chance, at), Place(batch, n - first)))
    days = [bisect_left(instants, BEGINNING + n * DAY) for n in range(DAYS + 1)]
    return sealed(lines, days, SIGNER)

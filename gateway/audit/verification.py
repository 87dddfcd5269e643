"""Verifies exports of the log offline: neither server nor database is needed.

The lines are hashed, folded with the hashes beside the range to the root of the log,
and that must be the root in a note which the log signed. It holds a few blocks of
the file at a time, so files of any size are verified in the same memory.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

from gateway.audit.checkpoint import NoteKey
from gateway.audit.exported import (
    Block,
    Digest,
    ExportFiles,
    blocks,
    digest,
    sealed_leaves,
)
from gateway.audit.folding import HASH, Fold, subtrees
from gateway.audit.placing import Counted, Kind, place
from gateway.audit.proof import (
    CannotTell,
    Proof,
    read_proof,
    signed_by,
)

# Below this, starting processes takes longer than they save.
WORTH_PROCESSES: Final = 64 * 1024 * 1024

# Bytes of lines hashed so far, and in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why an export is false. Lines count from 1; what is not known is None."""

    kind: Kind
    file: Path
    sentence: str
    line: int | None = None
    leaf_index: int | None = None
    access_id: str | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """One export as it was judged: true where it has no flaw."""

    file: Path
    proof: Proof
    lines: int
    flaw: Flaw | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Exports in the order of their leaves, and flaws of their joints."""

    exports: list[Export]
    joints: list[Flaw]

    @property
    def flaws(self) -> list[Flaw]:
        own = [export.flaw for export in self.exports if export.flaw is not None]
        return own + self.joints

    @property
    def true(self) -> bool:
        return not self.flaws


def verify(
    files: Sequence[Path],
    keys: Sequence[NoteKey],
    progress: Progress = lambda _, __: None,
) -> Verdict:
    """Judges exports, each with its proof beside it, and that they leave no gap.

    Args:
        files: the files of lines, in any order.
        keys: of the log; one of them must have signed each proof's note.
        progress: is told after every block.

    Raises:
        CannotTell: a file is missing or unreadable, a proof is none, or memory ran out.
    """
    proofs = [
        (ExportFiles(file), read_proof(ExportFiles(file).proof)) for file in files
    ]
    proofs.sort(key=lambda pair: pair[1].start)
    try:
        in_all = sum(each.lines.stat().st_size for each, _ in proofs)
        exports = []
        done = 0
        with Digests(in_all) as digests:
            for each, proof in proofs:
                told = _told(progress, done, in_all)
                exports.append(_Judge(each, proof, digests).judge(keys, told))
                done += each.lines.stat().st_size
    except OSError as error:
        raise CannotTell(
            f"{error.filename} cannot be read: {error.strerror}."
        ) from None
    except (BrokenExecutor, MemoryError):
        # A process was ended, for want of memory say: that says nothing of the files.
        raise CannotTell("The verifier itself was broken off.") from None
    return Verdict(exports, [*_joints(exports)])


def _told(progress: Progress, before: int, in_all: int) -> Callable[[int], None]:
    return lambda end: progress(before + end, in_all)


class Digests:
    """Hashes blocks on every core where that pays; gives them back in order."""

    def __init__(self, size: int) -> None:
        self._processes = os.cpu_count() or 1 if size >= WORTH_PROCESSES else 1
        self._pool: ProcessPoolExecutor | None = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        if self._processes > 1:
            pool = ProcessPoolExecutor(self._processes)
            self._pool = self._held.enter_context(pool)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def of(self, files: ExportFiles, start: int) -> Iterator[Digest]:
        work = partial(digest, files, start)
        if self._pool is None:
            return map(work, blocks(files.lines))
        return self._spread(self._pool, work, blocks(files.lines))

    def _spread(
        self,
        pool: ProcessPoolExecutor,
        work: Callable[[Block], Digest],
        given: Iterable[Block],
    ) -> Iterator[Digest]:
        under_way: deque[Future[Digest]] = deque()
        for block in given:
            under_way.append(pool.submit(work, block))
            # Reading ahead of the hashing would only fill memory.
            if len(under_way) > 2 * self._processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


class _Judge:
    """Judges one export."""

    def __init__(self, files: ExportFiles, proof: Proof, digests: Digests) -> None:
        self._files = files
        self._proof = proof
        self._digests = digests

    def judge(self, keys: Sequence[NoteKey], told: Callable[[int], None]) -> Export:
        lines, flaw = 0, self._flaw_of_proof(keys)
        if flaw is None:
            lines, flaw = self._judge_lines(told)
        return Export(self._files.lines, self._proof, lines, flaw)

    def _flaw_of_proof(self, keys: Sequence[NoteKey]) -> Flaw | None:
        proof = self._proof
        if not signed_by(proof.note, keys):
            return self._flaw(Kind.UNSIGNED, "its checkpoint is not signed by the key")
        if not proof.fits_checkpoint:
            return self._flaw(Kind.UNPROVEN, "its proof is not of its checkpoint")
        try:
            Fold(proof.start, proof.left)
            Fold(proof.end, [bytes(HASH)] * proof.end.bit_count()).root(
                proof.size, proof.right
            )
        except ValueError:
            return self._flaw(Kind.UNPROVEN, "its proof has not the hashes it needs")
        return None

    def _judge_lines(self, told: Callable[[int], None]) -> tuple[int, Flaw | None]:
        proof = self._proof
        fold = Fold(proof.start, proof.left)
        wrong: int | None = None
        lines = 0
        for each in self._digests.of(self._files, proof.start):
            fold.add(each.subtrees)
            lines += sum(1 << one.level for one in each.subtrees)
            if wrong is None:
                wrong = each.difference
            told(each.end)
        counted = Counted(lines, proof.end - proof.start, self._whole())
        right = lines == counted.sealed and self._gives_root(fold)
        if right and counted.whole:
            return lines, None
        if not right and not self._leaves_are_true(counted):
            return lines, self._unplaced(counted)
        return lines, self._placed(counted, wrong)

    def _gives_root(self, fold: Fold) -> bool:
        checkpoint = self._proof.checkpoint
        root = fold.root(self._proof.size, self._proof.right)
        return checkpoint is not None and root == checkpoint.root

    def _whole(self) -> bool:
        """Whether the file's last line has its line feed; a file of none lacks none."""
        with self._files.lines.open("rb") as opened:
            if opened.seek(0, os.SEEK_END) == 0:
                return True
            opened.seek(-1, os.SEEK_END)
            return opened.read() == b"\n"

    def _unplaced(self, counted: Counted) -> Flaw:
        has = f"it has {counted.lines} lines of {counted.sealed}"
        return self._flaw(
            Kind.ALTERED,
            f"its lines do not give the signed root ({has}); without a true "
            f"{self._files.leaves.name} it cannot be said which is wrong",
        )

    def _placed(self, counted: Counted, wrong: int | None) -> Flaw:
        if wrong is None:
            # Every line there is, is right: lines lack, or a line feed does.
            wrong = counted.lines - (not counted.whole)
        placed = place(self._files, counted, wrong)
        line, leaf = wrong + 1, self._proof.start + wrong
        named = f", access_id {placed.access_id}" if placed.access_id else ""
        return Flaw(
            placed.kind,
            self._files.lines,
            f"line {line} (leaf {leaf}{named}): {placed.sentence}",
            line,
            leaf,
            placed.access_id,
        )

    def _leaves_are_true(self, counted: Counted) -> bool:
        file, proof = self._files.leaves, self._proof
        if not file.exists() or file.stat().st_size != counted.sealed * HASH:
            return False
        fold = Fold(proof.start, proof.left)
        for first, joined in sealed_leaves(file):
            fold.add(subtrees(proof.start + first, joined))
        return self._gives_root(fold)

    def _flaw(self, kind: Kind, sentence: str) -> Flaw:
        return Flaw(kind, self._files.lines, sentence)


def _joints(exports: Sequence[Export]) -> Iterator[Flaw]:
    """What is wrong between exports that are in the order of their leaves.

    Spans of time that adjoin give ranges that touch or overlap, never ranges apart.
    """
    reached = 0
    for one, other in pairwise(exports):
        reached = max(reached, one.proof.end)
        same_size = one.proof.size == other.proof.size
        if same_size and one.proof.checkpoint != other.proof.checkpoint:
            sentence = f"another log of the same size is told of in {one.file}"
            yield Flaw(Kind.FORKED, other.file, sentence)
        if other.proof.start > reached:
            missing = f"leaves {reached} to {other.proof.start - 1} lie in no file"
            yield Flaw(Kind.REMOVED, other.file, missing, leaf_index=reached)

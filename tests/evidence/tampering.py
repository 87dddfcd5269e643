"""What somebody may do to an export, and how a verifier is to name it.

Each way changes the three files as they lie, once, and says what the verifier must say:
the kinds that name it rightly, and the first wrong line, where that can be known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from gateway.audit.checkpoint import Signer
from gateway.audit.folding import leaf_hashes
from gateway.audit.placing import Kind
from tests.evidence.big_logs import SealedLines, sealed, write_lines, write_proof
from tests.evidence.independent import beside
from tests.integration.logs import ORIGIN

# Somebody who takes the log's name, and has not its key.
STRANGER: Final = Signer(ORIGIN, bytes(range(1, 33)))
# The first characters of a line that name its entry, after which it is still a line.
NAMED: Final = slice(24, 32)


class Expected(NamedTuple):
    """How it is to be named; `line` counts from 0, None where nobody could tell it."""

    kinds: set[Kind]
    line: int | None


@dataclass(frozen=True)
class Export:
    """An export of a range of leaves, as it was written."""

    log: SealedLines
    file: Path
    start: int
    end: int

    @property
    def lines(self) -> list[bytes]:
        return self.log.lines[self.start : self.end]

    def write(self, lines: list[bytes]) -> None:
        write_lines(self.file, lines)

    def day(self, number: int) -> slice:
        """The lines of a day, as far as the export has them."""
        first, past = self.log.days[number : number + 2]
        return slice(
            max(first, self.start) - self.start, min(past, self.end) - self.start
        )


Tampering = Callable[[Export, Random], Expected]


def flip_a_bit(export: Export, chance: Random) -> Expected:
    """Anywhere in the file: line feeds are not spared."""
    content = bytearray(export.file.read_bytes())
    at = chance.randrange(len(content))
    line = content.count(b"\n", 0, at)
    content[at] ^= 1 << chance.randrange(8)
    export.file.write_bytes(content)
    kind = Kind.CUT_OFF if at == len(content) - 1 else Kind.CHANGED
    return Expected({kind}, line)


def reword_a_line(export: Export, chance: Random) -> Expected:
    lines = export.lines
    at = chance.randrange(len(lines))
    lines[at] = lines[at].replace(b'"count":', b'"count":9')
    export.write(lines)
    return Expected({Kind.CHANGED}, at)


def delete_a_line(export: Export, chance: Random) -> Expected:
    lines = export.lines
    at = chance.randrange(len(lines))
    del lines[at]
    export.write(lines)
    return Expected({Kind.REMOVED if at < len(lines) else Kind.CUT_OFF}, at)


def delete_a_day(export: Export, chance: Random) -> Expected:
    lines = export.lines
    day = export.day(chance.randrange(3))
    del lines[day]
    export.write(lines)
    return Expected(
        {Kind.REMOVED if day.start < len(lines) else Kind.CUT_OFF}, day.start
    )


def copy_a_line(export: Export, chance: Random) -> Expected:
    lines = export.lines
    at, other = chance.randrange(len(lines) + 1), chance.randrange(len(lines))
    lines.insert(at, lines[other])
    export.write(lines)
    # Before itself a line can stand twice: the second of the two is the added one.
    return Expected({Kind.ADDED}, at + (at == other))


def invent_a_line(export: Export, chance: Random) -> Expected:
    lines = export.lines
    invented = bytearray(chance.choice(export.log.lines))
    invented[NAMED] = f"{chance.getrandbits(32):08x}".encode()
    at = chance.randrange(len(lines) + 1)
    lines.insert(at, bytes(invented))
    export.write(lines)
    return Expected({Kind.ADDED}, at)


def swap_two_lines(export: Export, chance: Random) -> Expected:
    lines = export.lines
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    export.write(lines)
    return Expected({Kind.SWAPPED}, min(one, other))


def cut_the_tail(export: Export, chance: Random) -> Expected:
    """At any byte."""
    content = export.file.read_bytes()
    kept = content[: chance.randrange(len(content))]
    export.file.write_bytes(kept)
    return Expected({Kind.CUT_OFF}, kept.count(b"\n"))


def replace_a_day(export: Export, chance: Random) -> Expected:
    """By the lines of another, which stand where they belong too."""
    lines = export.lines
    one, other = map(export.day, chance.sample(range(3), 2))
    lines[one] = lines[other]
    export.write(lines)
    # A longer or shorter day moves those after it, so that its lines are as if early.
    return Expected({Kind.CHANGED, Kind.REMOVED}, one.start)


def fit_the_leaves(export: Export, chance: Random) -> Expected:
    """Lines are changed in one of the other ways, and FILE.leaves with them."""
    chance.choice(OF_LINES)(export, chance)
    lines = export.file.read_bytes().split(b"\n")
    beside(export.file, "leaves").write_bytes(leaf_hashes(lines[:-1]))
    # That a leaf is false is known; which one, nobody can know without the true ones.
    return Expected({Kind.ALTERED}, None)


def alter_the_proof(export: Export, chance: Random) -> Expected:
    proof = export.log.proof(export.start, export.end)
    of = proof["range"]
    member = chance.choice([*of, "checkpoint"])
    if member == "checkpoint":
        note = proof[member]
        at = chance.randrange(note.index("\n\n"))
        proof[member] = note[:at] + chr(ord(note[at]) ^ 1) + note[at + 1 :]
    elif isinstance(of[member], int):
        of[member] += chance.choice([-1, 1]) * chance.randint(
            1, 1 << chance.randrange(20)
        )
    else:
        one, other = chance.choice(of["left"]), chance.choice(of["right"])
        place = chance.randrange(len(of[member]))
        of[member][place : place + 1] = chance.choice(
            [[], [of[member][place]] * 2, [one if member == "right" else other]]
        )
    write_proof(export.file, proof)
    return Expected({Kind.UNPROVEN, Kind.UNSIGNED, Kind.ALTERED}, None)


def forge_the_head(export: Export, chance: Random) -> Expected:
    """One line is changed and everything else made to fit, but for the log's key."""
    lines = export.log.lines.copy()
    at = chance.randrange(export.start, export.end)
    lines[at] = lines[at].replace(b'"count":', b'"count":9')
    forged = sealed(lines, export.log.days, STRANGER)
    forged.export(export.file, export.start, export.end)
    return Expected({Kind.UNSIGNED}, None)


OF_LINES: Final[list[Tampering]] = [
    flip_a_bit,
    reword_a_line,
    delete_a_line,
    delete_a_day,
    copy_a_line,
    invent_a_line,
    swap_two_lines,
    cut_the_tail,
    replace_a_day,
]
ALL: Final = [*OF_LINES, fit_the_leaves, alter_the_proof, forge_the_head]

"""What the doctor says: pure."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How much a finding weighs: `gateway serve` does not start on one that is unsafe.

    Unknown is what could not be looked at, since a server is away: that keeps nobody
    from starting, and is no all-clear either.
    """

    UNSAFE = "unsafe"
    UNKNOWN = "unknown"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` is a word for programs; `says` a sentence on what to change.

    A setting is named, what it holds never is.
    """

    kind: Kind
    check: str
    says: str


def unsafe(check: str, says: str) -> Finding:
    return Finding(Kind.UNSAFE, check, says)


def unknown(check: str, says: str) -> Finding:
    return Finding(Kind.UNKNOWN, check, says)


def warning(check: str, says: str) -> Finding:
    return Finding(Kind.WARNING, check, says)

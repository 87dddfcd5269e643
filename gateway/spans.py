"""Whom a call's course is told to where traces are wanted; elsewhere nobody is there.

OpenTelemetry itself is in gateway/edge/tracing.py, which is imported only then and puts
itself in here.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Flight:
    """The flush that carried an ask: when it began (ns since 1970), and with how many."""

    began: int
    size: int


class Recorder(Protocol):
    """Both are told once it is over, and within the task of the call."""

    def stage(
        self, name: str, began: int, flight: Flight | None, *, answered: bool
    ) -> None:
        """What a call asked for was gathered with others since `began` (ns since 1970).

        There is no flight where no flush has carried it.
        """

    def access(
        self,
        operation: str,
        outcome: str,
        reason: str,
        institution: int | None,
        access_id: str | None,
    ) -> None:
        """How an access ended, in the words of its entry."""


told_to: Recorder | None = None

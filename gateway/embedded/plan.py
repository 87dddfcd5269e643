"""What one run of `gateway chaos` is to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from gateway.embedded.faults import FAULTS, Fault
from gateway.problems import Fault as Mistake
from gateway.problems import InvalidRequest

MINUTES: Final = 2.0
# What one fault takes until all is whole and verified again, about.
FAULT_MINUTES: Final = 0.08


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults, and minutes, or how often each comes, however long that takes."""

    seed: int
    minutes: float | None = None
    times: int | None = None
    faults: Sequence[Fault] = FAULTS

    @classmethod
    def asked(
        cls, seed: int, minutes: float | None, times: int | None, only: Sequence[str]
    ) -> Self:
        """As a command has it: `only` are names as they are printed, none are all.

        Raises:
            InvalidRequest: naming those that there are, for a name that is none's; or both
                minutes and times.
        """
        mistakes = []
        known = {fault.name: fault for fault in FAULTS}
        if not known.keys() >= set(only):
            there_are = "".join(f"\n  {name}" for name in known)
            mistakes.append(Mistake("--only", f"no such fault; there are:{there_are}"))
        if minutes is not None and times is not None:
            mistakes.append(Mistake("--times", "not together with --minutes"))
        if mistakes:
            raise InvalidRequest(mistakes)
        if minutes is None and times is None:
            minutes = MINUTES
        chosen = [fault for fault in FAULTS if not only or fault.name in only]
        return cls(seed, minutes, times, chosen)

    @property
    def about_minutes(self) -> float:
        """How long it takes, guessed where that is not given."""
        if self.minutes is not None:
            return self.minutes
        return FAULT_MINUTES * len(self.faults) * (self.times or 0)

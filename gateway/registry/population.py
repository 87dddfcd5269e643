"""The synthetic population of a seed, in blocks that need nothing of each other."""

from collections.abc import Iterator
from random import Random

from gateway.registry.families import BLOCK, SERIALS_PER_BLOCK, Settlement
from gateway.registry.places import districts
from gateway.registry.resident import SYNTHETIC_SERIALS, Resident


class Population:
    """All residents there can be for one seed, numbered from 0.

    The first n are the same people whoever asks and however many are wanted; where
    a count ends inside a family, its last members are missing.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        # A block lives in one district; the more people a district has, the more of
        # its blocks come up in a round through the country.
        self._turns = [
            (district, turn)
            for district in districts()
            for turn in range(district.shares)
        ]
        Random(seed).shuffle(self._turns)  # noqa: S311 - nothing here is secret

    @property
    def capacity(self) -> int:
        """How many residents there are serials for."""
        largest = max(district.shares for district in districts())
        rounds = len(SYNTHETIC_SERIALS) // SERIALS_PER_BLOCK // largest
        return rounds * len(self._turns) * BLOCK

    def block(self, number: int) -> list[Resident]:
        """Make the residents from number * BLOCK to (number + 1) * BLOCK - 1."""
        rounds, place = divmod(number, len(self._turns))
        district, turn = self._turns[place]
        chance = Random(f"{self._seed}/{number}")  # noqa: S311 - nothing here is secret
        return Settlement(district, rounds * district.shares + turn, chance).settle()

    def blocks(self, residents: int) -> Iterator[list[Resident]]:
        """Make the first so many residents, a block at a time, as they are asked for.

        Raises:
            ValueError: there are not that many numbers to give out.
        """
        if residents > self.capacity:
            raise ValueError(f"at most {self.capacity} synthetic residents can be made")
        return (
            self.block(start // BLOCK)[: residents - start]
            for start in range(0, residents, BLOCK)
        )

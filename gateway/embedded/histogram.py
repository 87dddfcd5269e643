"""A histogram of latencies whose quantiles are true to within one in 128.

Log-linear, as HdrHistogram is (Gil Tene): within each power of two the buckets are of one
width, so that microseconds and minutes fit into a few thousand counters.
"""

from collections.abc import Iterator
from typing import Final, Self

# Buckets in each power of two.
_BITS: Final = 7
_WIDTH: Final = 1 << _BITS


class Histogram:
    """Counts of whole microseconds."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0

    def add(self, micros: int) -> None:
        shift = max(0, micros.bit_length() - _BITS - 1)
        bucket = (shift << _BITS) + (micros >> shift)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += 1

    def merge(self, other: Self) -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total

    def quantile(self, share: float) -> int:
        """The least bound, in microseconds, that so many lie at or below; 0 of nothing."""
        wanted = share * self.total
        seen = 0
        for bound, count in self._bounds():
            seen += count
            if seen >= wanted:
                return bound
        return 0

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """The highest value of each bucket, and how many are in it."""
        for bucket in sorted(self.counts):
            # Below twice the width every value has a bucket of its own.
            shift = max(0, (bucket >> _BITS) - 1)
            low = bucket - (shift << _BITS) << shift
            yield low + (1 << shift) - 1, self.counts[bucket]

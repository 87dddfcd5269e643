"""Batches that are read together."""

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.entry import batch_instant, batch_number
from gateway.audit.rollup import MOST_OF_A_RUN, runs
from gateway.clock import SECOND

MINUTE = 60 * SECOND


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=200))
def test_runs_are_apart_where_nothing_was_written_for_a_minute(
    seconds: list[int],
) -> None:
    batches = [batch_number(second * SECOND, 1, 1) for second in seconds]
    found = list(runs(batches))
    assert list(chain(*found)) == sorted(batches)
    for run in found:
        assert all(between(*pair) <= MINUTE for pair in pairwise(run))
    for run, other in pairwise(found):
        assert between(run[-1], other[0]) > MINUTE


def between(one: int, other: int) -> int:
    return batch_instant(other) - batch_instant(one)


def test_a_run_is_no_longer_than_a_hash_can_hold() -> None:
    batches = [batch_number(n * 1000, 1, 1) for n in range(2 * MOST_OF_A_RUN + 1)]
    found = list(runs(batches))
    assert [len(run) for run in found] == [MOST_OF_A_RUN, MOST_OF_A_RUN, 1]
    assert list(chain(*found)) == batches

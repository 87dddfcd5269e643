"""The leaves of an archived day, sorted part by part."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import day_file


@given(st.lists(st.integers(0, 2**62), max_size=60), st.integers(1, 20))
def test_leaves_are_sorted_whatever_the_parts(leaves: list[int], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(day_file, "_SORTED_AT_ONCE", at_once)
        ordered = day_file.in_order(array("q", leaves))
    assert ordered == array("q", sorted(leaves))

"""Every parser of untrusted text reads its seeds, and what searches have found."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.finds import FINDS
from tests.fuzz.parsers import PARSERS
from tests.fuzz.seeds import SEEDS

EVERYWHERE = [b"", b"\0", b"\n\n", b"\xff\xfe", "²é￿😀".encode(), b"{" * 5_000]


def test_every_parser_has_seeds_and_none_is_forgotten() -> None:
    assert list(SEEDS) == list(PARSERS)
    assert all(SEEDS.values())
    assert set(FINDS) <= set(PARSERS)


@pytest.mark.parametrize("name", PARSERS)
def test_it_reads_or_refuses_as_it_says(name: str) -> None:
    for data in (*SEEDS[name], *FINDS.get(name, ()), *EVERYWHERE):
        PARSERS[name](data)


@pytest.mark.parametrize("name", PARSERS)
def test_it_does_so_wherever_a_text_is_cut_off_or_broken(name: str) -> None:
    for data in SEEDS[name]:
        for place in range(0, len(data), max(1, len(data) // 12)):
            for broken in (b"", b"\xff", b"\n"):
                PARSERS[name](data[:place] + broken)
                PARSERS[name](data[:place] + broken + data[place + 1 :])


@pytest.mark.parametrize("name", ["export", "proof", "forwarded", "submission"])
@settings(max_examples=25)
@given(chance=st.randoms(use_true_random=False), noise=st.binary(max_size=60))
def test_it_does_so_of_a_text_put_together_of_its_own_parts(
    name: str, chance: Random, noise: bytes
) -> None:
    seed = chance.choice(SEEDS[name])
    places = sorted(chance.randrange(len(seed) + 1) for _ in range(4))
    parts = [seed[a:b] for a, b in pairwise([0, *places, len(seed)])] + [noise]
    PARSERS[name](b"".join(chance.choices(parts, k=5)))

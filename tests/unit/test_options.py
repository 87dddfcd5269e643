"""How the texts given to commands are read."""

import pytest

from gateway import options
from gateway.partners import keeping


def test_a_shadow_is_read_as_json_has_it() -> None:
    assert options.split_shadow("day=10,rate=5") == {"day": 10, "rate": 5}
    assert options.split_shadow("none") is None
    assert options.split_shadow(None) is keeping.UNCHANGED


@pytest.mark.parametrize(
    "text", ["", "day", "day=", "day=ten", "day=-1", "day=1,", "day=1,day=2", "day=1.5"]
)
def test_a_shadow_of_another_form_is_left_for_the_rules_to_refuse(text: str) -> None:
    assert options.split_shadow(text) == text

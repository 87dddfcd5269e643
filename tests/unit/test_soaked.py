"""The slope by which a soak judges: of what came after the caches had filled."""

import pytest

from tests.benchmarks.soaked import megabytes_an_hour


def test_a_slope_leaves_out_the_first_third() -> None:
    seconds = [30.0 * number for number in range(120)]
    grown = [min(number, 40) * 10e6 for number in range(120)]
    assert megabytes_an_hour(seconds, grown) == pytest.approx(0, abs=1e-6)


def test_a_slope_is_in_megabytes_an_hour() -> None:
    seconds = [60.0 * number for number in range(60)]
    grown = [100e6 + 7e6 * one / 3600 for one in seconds]
    assert megabytes_an_hour(seconds, grown) == pytest.approx(7)


def test_two_samples_have_no_slope() -> None:
    assert megabytes_an_hour([0.0, 30.0], [1.0, 2e9]) == 0

"""The guard against calls that become dearer."""

import json
from pathlib import Path
from typing import Any

from gateway.embedded.budget import dearer, worth


def kinds(micros: float, constant: float = 20_000.0) -> dict[str, Any]:
    return {
        "verify": {"rates": [1.0], "cpu_micros": [micros, 10 * micros, 0.5 * micros]},
        "constant": {"rates": [constant], "cpu_micros": [1.0]},
    }


def test_a_call_is_worth_the_constant_calls_that_its_cpu_could_answer() -> None:
    assert worth(kinds(300.0)) == {"verify": 6.0}


def test_only_what_is_dearer_by_over_a_quarter_is_told(tmp_path: Path) -> None:
    committed = tmp_path / "bench.json"
    committed.write_text(json.dumps({"kinds": kinds(300.0)}), "utf-8")
    assert dearer(kinds(370.0), committed) == {}
    assert dearer(kinds(380.0), committed) == {"verify": (6.0, 7.6)}
    # Twice as fast a machine: half the time is the same cost.
    assert dearer(kinds(150.0, 40_000.0), committed) == {}
    assert dearer(kinds(200.0, 40_000.0), committed) == {"verify": (6.0, 8.0)}


def test_a_kind_that_was_not_measured_before_is_no_dearer(tmp_path: Path) -> None:
    committed = tmp_path / "bench.json"
    only = {"constant": {"rates": [1.0], "cpu_micros": [1.0]}}
    committed.write_text(json.dumps({"kinds": only}), "utf-8")
    assert dearer(kinds(300.0), committed) == {}

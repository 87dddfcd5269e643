"""The bench runs from end to end, and its answers are the log's charges."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_short_bench_tells_a_rate_of_every_kind(tmp_path: Path) -> None:
    told = tmp_path / "bench.json"
    size = ("--seconds", "1", "--rounds", "1", "--residents", "2000")
    done = subprocess.run(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "gateway", "bench", *size),
            *("--institutions", "20", "--json", str(told)),
        ],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(told.read_text("utf-8"))
    kinds = ("verify", "fetch", "batch", "refused", "unauthenticated", "constant")
    assert tuple(document["kinds"]) == kinds
    assert all(min(one["rates"]) > 0 for one in document["kinds"].values())
    assert document["pgbench"] > 0
    offered = [point["offered"] for point in document["latency"]]
    assert offered == sorted(offered)
    assert all(
        0 < point["p50"] <= point["p99"] <= point["p999"]
        for point in document["latency"]
    )
    assert min(document["beside"].values()) > 0
    drawn = ET.parse(told.with_suffix(".svg")).getroot()  # noqa: S314 - our own
    assert len(drawn.findall("{*}polyline")) == 3

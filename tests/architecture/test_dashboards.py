"""Dashboards ask for what is counted, say what they show, and are where Grafana looks."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types; it comes with Litestar

from tests.architecture.counted import (
    GRAFANA,
    NO_PROMTOOL,
    PROMTOOL,
    ROOT,
    read,
    unknown,
)

BOARDS = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
MOST_PANELS = 12


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            yield f"{name}: {panel['title']}", panel


def test_there_is_a_dashboard_for_lookups_limits_the_log_and_workers() -> None:
    assert set(BOARDS) == {"lookups", "limits", "log", "workers"}
    for name, board in BOARDS.items():
        assert board["uid"] == f"gateway-{name}"
        assert 6 <= len(board["panels"]) <= MOST_PANELS
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    for where, panel in panels():
        assert len(panel["description"].split()) >= 3, where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        assert panel["targets"], where


def test_no_panel_lies_over_another() -> None:
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not cells & taken, panel["title"]
            taken |= cells


def test_panels_ask_only_for_what_is_counted() -> None:
    for where, panel in panels():
        for target in panel["targets"]:
            assert unknown(target["expr"]) == set(), where


def test_grafana_finds_the_dashboards_and_they_find_prometheus() -> None:
    provisioning = GRAFANA / "provisioning"
    ((source,),) = [
        read(path)["datasources"] for path in provisioning.glob("datasources/*.yml")
    ]
    ((provider,),) = [
        read(path)["providers"] for path in provisioning.glob("dashboards/*.yml")
    ]
    services = read(ROOT / "docker-compose.yml")["services"]
    grafana, prometheus = services["grafana"], services["prometheus"]
    mounted = dict(
        reversed(volume.removesuffix(":ro").split(":")) for volume in grafana["volumes"]
    )
    assert ROOT / mounted[provider["options"]["path"]] == GRAFANA / "dashboards"
    assert ROOT / mounted["/etc/grafana/provisioning"] == provisioning
    assert source["url"] == "http://prometheus:9090"
    assert "./deploy/prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    assert grafana["profiles"] == prometheus["profiles"] == ["monitoring"]
    for where, panel in panels():
        for one in (panel, *panel["targets"]):
            assert one["datasource"]["uid"] == source["uid"], where


@pytest.mark.skipif(PROMTOOL is None, reason=NO_PROMTOOL)
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    asked = [target["expr"] for _, panel in panels() for target in panel["targets"]]
    named = [
        {"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": named}]}))
    assert PROMTOOL is not None
    done = subprocess.run(  # noqa: S603 - a program of the system's, our own file
        [PROMTOOL, "check", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(asked)} rules found" in done.stdout

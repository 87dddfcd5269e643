"""What the live page tells, from two readings; and that one panel takes no other along."""

import asyncio
import base64
import re
from hashlib import sha384
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.console import operating
from gateway.console.pages import html
from gateway.console.pulse import Pulse, figures
from gateway.console.texts import Texts
from gateway.console.visit import Visit
from gateway.edge.caller import Services
from gateway.telemetry import (
    ADMISSIONS,
    CALL_SECONDS,
    CALLS,
    FLUSH_FAILURES,
    FLUSH_SECONDS,
    FLUSH_SIZE,
    Reading,
)


def test_figures_are_of_what_was_counted_between_the_readings() -> None:
    CALLS.labels("verify", "matched", "").inc(1000)
    before = Reading()
    CALLS.labels("verify", "matched", "").inc(30)
    CALLS.labels("verify", "refused", "quota-exceeded").inc(10)
    CALLS.labels("fetch", "disclosed", "").inc(5)
    for _ in range(99):
        CALL_SECONDS.labels("verify").observe(0.004)
    CALL_SECONDS.labels("verify").observe(0.4)
    ADMISSIONS.labels("admitted").inc(35)
    ADMISSIONS.labels("day").inc(10)
    FLUSH_SECONDS.labels("journal").observe(0.0014)
    FLUSH_SIZE.labels("journal").observe(40)
    FLUSH_FAILURES.labels("journal").inc()
    now = Reading()
    now.at = before.at + 10
    told = figures(before, now)
    assert [(one.name, one.p50, one.p99) for one in told.operations] == [
        ("verify", 0.005, 0.005),
        ("fetch", None, None),
    ]
    assert dict(told.outcomes) == {"matched": 3.0, "refused": 1.0, "disclosed": 0.5}
    assert told.reasons == [("quota-exceeded", 1.0)]
    assert told.policies == [("day", 1.0)]
    (journal,) = told.stages
    assert (journal.name, journal.size, journal.p99) == ("journal", 40, 0.0015)
    assert journal.failed == 1
    assert told.all.a_second == 10


async def test_a_panel_that_fails_says_so_and_the_others_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_: Pulse) -> dict[str, Any]:
        raise RuntimeError("secret detail")

    monkeypatch.setitem(operating.PANELS, "log", broken)
    texts = Texts("en")
    state = {"pulse": Pulse(cast("Services", None), asyncio.TaskGroup())}
    visit = SimpleNamespace(
        request=SimpleNamespace(app=SimpleNamespace(state=state)),
        part=lambda template, **told: html(template, texts, told),
    )
    log = await operating._panel(cast("Visit", visit), "log")
    assert "no figures just now" in log
    assert "secret detail" not in log
    assert "Workers" in await operating._panel(cast("Visit", visit), "state")


def test_who_seems_to_harvest_is_shown_where_there_is_anybody() -> None:
    texts = Texts("en")
    told: dict[str, Any] = {"first": {"refused": [], "used": []}, "suspects": []}
    nobody = html("ops_institutions.html", texts, told)
    assert "Who seems to harvest" not in nobody
    suspect = {"id": 7, "name": "Bank <b>", "step": "stop", "rule": "scan", "at": ""}
    somebody = html("ops_institutions.html", texts, told | {"suspects": [suspect]})
    for words in ("Who seems to harvest", "Bank &lt;b&gt;", "stop", "scan"):
        assert words in somebody


def test_the_code_of_others_is_what_its_authors_published() -> None:
    folder = files("gateway.console") / "static" / "vendor"
    told = (folder / "README.md").read_text("utf-8")
    known = dict(re.findall(r"^\| (\S+) \|.* (sha384-\S+) \|$", told, re.MULTILINE))
    found = {
        one.name: "sha384-"
        + base64.b64encode(sha384(one.read_bytes()).digest()).decode()
        for one in folder.iterdir()
        if one.name.endswith((".js", ".css"))
    }
    assert len(found) == 4
    assert found == known

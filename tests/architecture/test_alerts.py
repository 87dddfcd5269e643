"""Alerts, their pages and their trials go together, and ask only for what is counted."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from gateway.cli import app
from tests.architecture.counted import (
    NO_PROMTOOL,
    PROMETHEUS,
    PROMTOOL,
    ROOT,
    read,
    rules,
    unknown,
)

RUNBOOKS: Final = ROOT / "docs" / "runbooks"
COMMAND: Final = re.compile(r"^gateway ((?:[a-z-]+ ?){1,2})", re.MULTILINE)


def trials() -> Iterator[dict[str, Any]]:
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for one in read(path)["tests"]:
            yield from one.get("alert_rule_test", ())


def page_of(alert: str) -> Path:
    return RUNBOOKS / (re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower() + ".md")


def test_every_alert_has_a_page_that_tells_what_to_do() -> None:
    alerts = rules("alert")
    assert len(alerts) >= 20
    for name, alert in alerts.items():
        page = page_of(name)
        assert alert["annotations"]["runbook"] == str(page.relative_to(ROOT))
        text = page.read_text("utf-8")
        assert text.startswith(f"# {name}\n\n**For callers:**"), name
        parts = [line for line in text.splitlines() if line.startswith("## ")]
        assert parts == ["## Look", "## Do", "## Over"], name
        assert alert["labels"]["severity"] in {"page", "ticket"}
    pages = {page_of(name) for name in alerts}
    assert set(RUNBOOKS.glob("*.md")) == pages | {RUNBOOKS / "README.md"}


def test_every_alert_is_tried_where_it_fires_and_where_it_does_not() -> None:
    tried = {(one["alertname"], bool(one["exp_alerts"])) for one in trials()}
    assert tried == {
        (name, fires) for name in rules("alert") for fires in (True, False)
    }


def test_rules_trials_and_pages_ask_only_for_what_is_counted() -> None:
    sources = [*PROMETHEUS.rglob("*.yml"), *RUNBOOKS.glob("*.md")]
    assert len(sources) > 25
    asked = "\n".join(path.read_text("utf-8") for path in sources)
    assert unknown(asked) == set()
    assert unknown("gateway_nothing + gateway:no:thing")


def test_commands_on_the_pages_are_commands() -> None:
    commands = typer.main.get_command(app)
    named = {
        tuple(found.split())
        for page in RUNBOOKS.glob("*.md")
        for found in COMMAND.findall("\n".join(quoted(page.read_text("utf-8"))))
    }
    assert len(named) > 8
    for words in named:
        group: Any = commands
        for word in words:
            if not hasattr(group, "commands"):
                break
            assert word in group.commands, words
            group = group.commands[word]


def quoted(text: str) -> list[str]:
    """What stands in blocks of code, and between backquotes."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return blocks + re.findall(
        r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )


@pytest.mark.skipif(PROMTOOL is None, reason=NO_PROMTOOL)
def test_prometheus_takes_the_rules_and_their_trials_hold() -> None:
    assert PROMTOOL is not None
    trials = map(str, sorted((PROMETHEUS / "tests").glob("*.yml")))
    for arguments in (
        ["check", "config", str(PROMETHEUS / "prometheus.yml")],
        ["test", "rules", *trials],
    ):
        done = subprocess.run(  # noqa: S603 - a program of the system's, our own files
            [PROMTOOL, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

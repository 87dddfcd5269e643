"""Alerts, their pages and their trials go together, and ask only for what is counted."""

import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml  # type: ignore[import-untyped]  # it has no types; it comes with Litestar
from prometheus_client import REGISTRY

from gateway.cli import app

ROOT: Final = Path(__file__).resolve().parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
PROMTOOL: Final = shutil.which("promtool")
# Modules that between them know every metric: of the workers, and of the sealer.
COUNTING: Final = ("gateway.serving", "gateway.sealing")
ENDINGS: Final = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
COUNTED: Final = re.compile(r"\bgateway_[a-z0-9_]+")
RECORDED: Final = re.compile(r"\bgateway:[a-z0-9_:]+")
COMMAND: Final = re.compile(r"^gateway ((?:[a-z-]+ ?){1,2})", re.MULTILINE)
# What the gateway writes that looks like a metric: roles of PostgreSQL.
ROLES: Final = {"gateway_hot", "gateway_sealer", "gateway_auditor", "gateway_owner"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Alerts or recorded series, by name."""
    return {
        rule[kind]: rule
        for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in read(path)["groups"]
        for rule in group["rules"]
        if kind in rule
    }


def trials() -> Iterator[dict[str, Any]]:
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for one in read(path)["tests"]:
            yield from one.get("alert_rule_test", ())


def page_of(alert: str) -> Path:
    return RUNBOOKS / (re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower() + ".md")


def counted() -> set[str]:
    """Every series that some process of the gateway counts."""
    for module in COUNTING:
        importlib.import_module(module)
    return {
        family.name + ending
        for family in REGISTRY.collect()
        for ending in ENDINGS.get(family.type, [""])
    }


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
    known, recorded = counted(), set(rules("record"))
    sources = [*PROMETHEUS.rglob("*.yml"), *RUNBOOKS.glob("*.md")]
    assert len(sources) > 25
    for path in sources:
        text = path.read_text("utf-8")
        assert set(COUNTED.findall(text)) - ROLES <= known, path.name
        assert set(RECORDED.findall(text)) - {"gateway:8000"} <= recorded, path.name


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


@pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (the Debian package prometheus) is not here"
)
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

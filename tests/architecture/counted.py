"""What the gateway counts, what Prometheus records of it, and who may ask for it."""

import importlib
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # it has no types; it comes with Litestar
from prometheus_client import REGISTRY

ROOT: Final = Path(__file__).resolve().parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
GRAFANA: Final = ROOT / "deploy" / "grafana"
PROMTOOL: Final = shutil.which("promtool")
NO_PROMTOOL: Final = "promtool (the Debian package prometheus) is not installed here"
# Modules that between them know every metric: of the workers, and of the sealer.
_COUNTING: Final = ("gateway.working", "gateway.sealing")
_ENDINGS: Final = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
_METRIC: Final = re.compile(r"\bgateway_[a-z0-9_]+")
_RECORD: Final = re.compile(r"\bgateway:[a-z0-9_:]+")
# What looks like a metric and is none: roles of PostgreSQL, and an address.
_OTHERS: Final = {"gateway_hot", "gateway_sealer", "gateway_auditor", "gateway_owner"}
_ADDRESS: Final = "gateway:8000"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


@cache
def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Rules that are an `alert`, or a `record`, by its name."""
    return {
        rule[kind]: rule
        for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in read(path)["groups"]
        for rule in group["rules"]
        if kind in rule
    }


@cache
def counted() -> set[str]:
    """Every series that some process of the gateway counts."""
    for module in _COUNTING:
        importlib.import_module(module)
    return {
        family.name + ending
        for family in REGISTRY.collect()
        for ending in _ENDINGS.get(family.type, [""])
    }


def unknown(text: str) -> set[str]:
    """The series named in a text that nobody counts or records."""
    metrics = set(_METRIC.findall(text)) - _OTHERS
    records = set(_RECORD.findall(text)) - {_ADDRESS}
    return (metrics - counted()) | (records - set(rules("record")))

"""Walks the application's own routes, so that none can be added that is not audited."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from litestar import HttpMethod
from litestar.routes import HTTPRoute
from pydantic import PostgresDsn

from gateway.app import create_app
from gateway.settings import ServeSettings
from tests.acceptance.ledger import entries
from tests.acceptance.service import Service

pytestmark = [pytest.mark.acceptance]

# Public, and by name: a route that is to join them is a decision.
PUBLIC: Final = {
    "/health/live",
    "/health/ready",
    "/metrics",
    "/problems/{slug:str}",
    "/openapi.json",
    "/log/checkpoint",
    "/log/key",
    "/log/leaves",
    "/log/proof/consistency",
    "/log/proof/inclusion",
    "/log/proof/range",
}
PLACEHOLDERS: Final = {
    "job_id": "01a21017-72c5-7000-8020-000000000001",
    "access_id": "01a21017-72c5-7000-8020-000000000000",
    "institution": "1",
    "agreement": "1",
    "key": "Ab3dE6gH",
    "certificate": "1",
    "member": "1",
    "proposal": "1",
}


def routes(service: Service) -> Iterator[tuple[str, str]]:
    """Every method of every path of the application."""
    told = service.environment
    settings = ServeSettings(
        postgres_dsn=PostgresDsn(told["GATEWAY_POSTGRES_DSN"]),
        registry_dsn=PostgresDsn(told["GATEWAY_REGISTRY_DSN"]),
        auditor_dsn=PostgresDsn(told["GATEWAY_AUDITOR_DSN"]),
        receipts_dsn=PostgresDsn(told["GATEWAY_RECEIPTS_DSN"]),
        signing_key_file=Path(told["GATEWAY_SIGNING_KEY_FILE"]),
        log_origin=told["GATEWAY_LOG_ORIGIN"],
        redis_url=told["GATEWAY_REDIS_URL"],
        pepper_file=Path(told["GATEWAY_PEPPER_FILE"]),
        subject_keys_file=Path(told["GATEWAY_SUBJECT_KEYS_FILE"]),
    )
    for route in create_app(settings).routes:
        assert isinstance(route, HTTPRoute)
        # Pages have a walk of their own: test_console.py.
        if not route.path.startswith("/console"):
            yield from ((method, route.path) for method in sorted(route.methods))


def target(path: str) -> str:
    return re.sub(r"\{(\w+):\w+\}", lambda found: PLACEHOLDERS[found[1]], path)


@pytest.fixture
def no_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application is built here for its routes; the tests' logging stays."""
    monkeypatch.setattr("gateway.telemetry.configure_logging", lambda: None)


@pytest.mark.usefixtures("no_logging")
async def test_every_route_leaves_an_entry_and_needs_a_credential_save_those_named(
    service: Service,
) -> None:
    walked = list(routes(service))
    assert {path for _, path in walked} >= PUBLIC
    audited = [(method, path) for method, path in walked if path not in PUBLIC]
    assert len(audited) > 20
    refused: dict[str, str] = {}
    for number, (method, path) in zip(count(1), audited, strict=False):
        # An address of its own, so that its refusal is entered singly.
        source = f"127.0.9.{number}"
        nobody = await service.ask(method, target(path), source=source)
        assert nobody.status == 401, (method, path)
        refused[str(nobody.access_id)] = "unauthenticated"
        for key in wrong_kinds(service, path):
            wrong = await service.ask(method, target(path), source=source, key=key)
            # A method that the route does not have is told to anyone with a key.
            reason = (
                wrong.headers.get("allow") and "method-not-allowed"
            ) or "forbidden"
            assert wrong.status == (405 if "allow" in wrong.headers else 403), (
                method,
                path,
            )
            refused[str(wrong.access_id)] = reason
    await check_entries(service, refused)


def wrong_kinds(service: Service, path: str) -> list[str]:
    """Valid credentials that this path is not for."""
    institution = service.sample("bulk").key
    if path.startswith("/audit"):
        return [institution, service.staff["ops"], service.staff["admin"]]
    if path.startswith("/ops"):
        return [institution, service.staff["auditor"], service.staff["admin"]]
    if path.startswith("/admin"):
        return [institution, service.staff["ops"], service.staff["auditor"]]
    if path.startswith("/v1"):
        return list(service.staff.values())
    raise AssertionError(f"nobody said whose route {path} is")


async def check_entries(service: Service, refused: dict[str, str]) -> None:
    """Each of these accesses is in the log, once, refused for its reason."""
    kept = [
        (one["access_id"], one["outcome"], one["reason"])
        for one in await entries(service.auditor_dsn, 'e.outcome = 5::"char"')
        if one["access_id"] in refused
    ]
    wanted = [(name, "refused", reason) for name, reason in refused.items()]
    assert sorted(kept) == sorted(wanted)


@pytest.mark.usefixtures("no_logging")
async def test_each_route_has_every_method_or_refuses_it_with_an_entry(
    service: Service,
) -> None:
    methods = {str(method.value) for method in HttpMethod}
    by_path: dict[str, set[str]] = {}
    for method, path in routes(service):
        by_path.setdefault(path, set()).add(method)
    for path, held in by_path.items():
        assert path in PUBLIC or held == methods, path

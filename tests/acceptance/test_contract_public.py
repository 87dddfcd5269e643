"""What anyone may ask: problems explained, health, metrics."""

from html import unescape
from typing import Final

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.acceptance import questions
from tests.acceptance.metrics import metric
from tests.acceptance.questions import UNKNOWN_NIK
from tests.acceptance.service import WORKERS, Service

pytestmark = [pytest.mark.acceptance]

SLUGS: Final = {
    "unauthenticated": 401,
    "forbidden": 403,
    "address-not-allowed": 403,
    "agreement-inactive": 403,
    "not-granted": 403,
    "invalid-request": 400,
    "resident-not-found": 404,
    "idempotency-conflict": 409,
    "quota-exceeded": 429,
    "abnormal-usage-detected": 429,
    "temporary-reduced-capacity": 503,
    "audit-unavailable": 503,
    "registry-unavailable": 503,
    "not-found": 404,
    "method-not-allowed": 405,
    "unsupported-media-type": 415,
    "payload-too-large": 413,
    "internal-error": 500,
}
MOST_SERIES: Final = 5000


@pytest.mark.parametrize("slug", SLUGS)
async def test_every_problem_is_explained_in_both_languages(
    service: Service, slug: str
) -> None:
    answer = await service.ask("GET", f"/problems/{slug}")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    page = unescape(answer.body.decode())
    assert slug in page
    assert str(SLUGS[slug]) in page
    assert 'lang="id"' in page
    assert 'lang="en"' in page


async def test_a_problem_that_is_none_is_not_found(service: Service) -> None:
    answer = await service.ask("GET", "/problems/no-such-thing")
    assert (answer.status, answer.reason) == (404, "not-found")


async def test_every_problem_says_its_type_title_and_status(
    service: Service,
) -> None:
    caller = service.newcomer()
    for answer in (
        await service.put(questions.account(None), source="127.0.4.50"),
        await service.put(questions.fetch(caller, "1", ["name"])),
        await service.put(questions.fetch(caller, UNKNOWN_NIK, ["kk"])),
        await service.put(questions.fetch(caller, UNKNOWN_NIK, ["name"])),
        await service.ask("GET", "/no-such-path"),
        await service.ask("DELETE", "/v1/account", key=caller.key),
    ):
        document = answer.json
        assert document["status"] == answer.status
        assert document["type"] == f"/problems/{answer.reason}"
        assert document["title"]
        assert document.get("access_id") == answer.access_id
        assert SLUGS[document["type"].removeprefix("/problems/")] == answer.status


OTHER_SITE: Final = {"Origin": "https://elsewhere.example"}
PREFLIGHT: Final = {**OTHER_SITE, "Access-Control-Request-Method": "POST"}


async def test_no_other_site_is_let_in_and_no_answer_is_kept_or_guessed_at(
    service: Service,
) -> None:
    caller = service.newcomer()
    question = {"nik": UNKNOWN_NIK, "purpose": "kyc", "claims": {"name": "SITI"}}
    answers = [
        await service.ask("GET", "/v1/account", key=caller.key, headers=OTHER_SITE),
        await service.ask(
            "POST", "/v1/verify", key=caller.key, json=question, headers=OTHER_SITE
        ),
        await service.ask("POST", "/v1/verify", headers=OTHER_SITE),
        await service.ask("OPTIONS", "/v1/verify", headers=PREFLIGHT),
        await service.ask("OPTIONS", "/admin/keys", headers=PREFLIGHT),
    ]
    assert [answer.status for answer in answers] == [200, 200, 401, 401, 401]
    for answer in answers:
        assert not [name for name in answer.headers if "access-control" in name]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_a_whole_gateway_lives_and_is_ready(service: Service) -> None:
    live = await service.ask("GET", "/health/live")
    assert live.status == 200
    ready = await service.ask("GET", "/health/ready")
    assert (ready.status, ready.json) == (200, {"ready": True, "degraded": []})


async def calls_counted(service: Service, **labels: str) -> float:
    """gateway_calls_total with these labels, as any one worker tells it."""
    answer = await service.ask("GET", "/metrics")
    kind = answer.headers["content-type"]
    assert kind.startswith("application/openmetrics-text")
    text = answer.body.decode()
    assert text.endswith("# EOF\n")
    samples = [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(samples) <= MOST_SERIES
    return sum(
        float(sample.value)
        for sample in samples
        if sample.name == "gateway_calls_total"
        and labels.items() <= sample.labels.items()
    )


async def test_metrics_are_of_all_workers_together(service: Service) -> None:
    caller = service.newcomer()
    question = questions.fetch(caller, UNKNOWN_NIK, ["name"])
    labels = {"operation": "fetch", "outcome": "not_found"}
    before = await calls_counted(service, **labels)
    workers = sorted(service.gateway.workers())
    assert len(workers) == 2
    for calls, pid in enumerate(workers, start=3):
        async with service.gateway.connection_to(pid) as connection:
            for _ in range(calls):
                assert (await question.put(connection)).status == 404
    for pid in workers:
        async with service.gateway.connection_to(pid):
            assert await calls_counted(service, **labels) == before + 7


async def test_the_metrics_of_a_whole_gateway_say_that_it_is_well(
    service: Service,
) -> None:
    assert await metric(service, "gateway_ready", process="worker") == 1
    assert await metric(service, "gateway_workers") == WORKERS
    for between in ("host-postgres", "redis-postgres"):
        apart = await metric(service, "gateway_clocks_apart_seconds", between=between)
        assert apart is not None
        assert apart < 1
    days = await metric(service, "gateway_partition_days_ahead")
    assert days in {6, 7}
    assert (await metric(service, "gateway_database_bytes") or 0) > 1_000_000


async def test_metrics_name_no_institution_and_no_person(service: Service) -> None:
    caller = service.newcomer()
    await service.put(questions.fetch(caller, UNKNOWN_NIK, ["name"]))
    text = (await service.ask("GET", "/metrics")).body.decode()
    labels = {
        name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for name in sample.labels
    }
    bounded = {"operation", "outcome", "reason", "stage", "task", "dependency", "le"}
    bounded |= {"result", "policy", "percent", "process", "between", "after"}
    assert labels <= bounded
    assert caller.key_id not in text

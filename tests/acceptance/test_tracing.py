"""Traces of a whole gateway: what a call's spans are, and that nobody is found in them."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.acceptance import questions
from tests.acceptance.collector import Collector, attributes, collecting
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.test_secrecy import (
    ask_lawfully,
    canaries,
    found_in,
    make_mistakes,
    needles,
)

pytestmark = [pytest.mark.acceptance]

PROXY: Final = "127.0.9.1"
TRACE: Final = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
PARENT: Final = f"00-{TRACE.hex()}-b7ad6b7169203331-01"
DEADLINE: Final = 20.0


@pytest.fixture(scope="module")
async def traced(service: Service) -> AsyncIterator[tuple[Service, Collector]]:
    """The service, asked through a gateway that sends traces; and to whom."""
    with collecting() as collector:
        async with service.second_gateway(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_SCHEDULE_DELAY="100",
            GATEWAY_TRUSTED_PROXIES=PROXY,
        ) as gateway:
            yield dataclasses.replace(service, gateway=gateway), collector


async def span_of(collector: Collector, access_id: str | None) -> Span:
    assert access_id is not None
    deadline = time.monotonic() + DEADLINE
    while (span := collector.of_access(access_id)) is None:
        assert time.monotonic() < deadline, "no span of this access was sent"
        await asyncio.sleep(0.05)
    return span


async def test_a_verify_is_a_span_with_its_admission_registry_and_journal_below(
    traced: tuple[Service, Collector],
) -> None:
    service, collector = traced
    caller = service.newcomer()
    question = questions.verify(caller, questions.UNKNOWN_NIK, {"name": "SITI"})
    answer = await service.ask(
        "POST",
        "/v1/verify",
        source=PROXY,
        key=caller.key,
        json=question.json,
        headers={"Traceparent": PARENT},
    )
    assert answer.status == 200
    call = await span_of(collector, answer.access_id)
    assert call.trace_id == TRACE
    assert attributes(call) == {
        "http.request.method": "POST",
        "http.route": "/v1/verify",
        "http.response.status_code": 200,
        "gateway.operation": "verify",
        "gateway.outcome": "not_found",
        "gateway.institution": caller.institution,
        "gateway.access_id": answer.access_id,
    }
    found = collector.of_trace(TRACE)
    assert set(found) >= {"POST /v1/verify", "limiter", "registry", "journal"}
    for name in ("limiter", "registry", "journal"):
        assert found[name].parent_span_id == call.span_id
        assert [event.name for event in found[name].events] == ["flush"]


async def test_a_call_by_litestars_own_way_is_named_by_its_template_too(
    traced: tuple[Service, Collector],
) -> None:
    service, collector = traced
    caller = service.newcomer()
    answer = await service.ask(
        "GET",
        "/v1/receipts/01a21017-72c5-7000-8020-000000000000",
        key=caller.key,
        headers={"Traceparent": PARENT.replace("0af7", "ffff")},
    )
    assert answer.status == 404
    call = await span_of(collector, answer.access_id)
    assert call.name == "GET /v1/receipts/{access_id}"
    # From whoever is no proxy of ours no trace goes on.
    assert not call.parent_span_id


async def test_no_nik_and_no_key_is_found_in_a_trace(
    traced: tuple[Service, Collector],
) -> None:
    service, collector = traced
    caller, (one, *_) = service.newcomer(), canaries(service)
    await ask_lawfully(service, caller, one)
    await make_mistakes(service, caller, one)
    last = await service.put(questions.verify(caller, nik_of(one), {"name": "X"}))
    await span_of(collector, last.access_id)
    assert len(collector.taken) > 150
    said = b"\n".join(collector.raw)
    assert not found_in(said, needles([one], [caller.key, *service.staff.values()]))
    # The search would find what it looks for.
    assert found_in(said, [str(last.access_id).encode()])
    log = service.gateway.log_file.read_bytes()
    assert not found_in(log, needles([one], [caller.key]))

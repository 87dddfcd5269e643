"""The pages that explain problems say what is so, in both languages."""

import re

import pytest
from litestar import Response

from gateway.edge.caller import MOST_BATCH_BODY, MOST_BODY
from gateway.edge.explanations import EXPLANATION, explain
from gateway.edge.jobs import MOST_JOB_BODY, NDJSON
from gateway.edge.rendering import KEY_REUSED, STATUS
from gateway.vocabulary import Reason


def test_every_reason_is_explained() -> None:
    assert EXPLANATION.keys() == set(Reason)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.word)
async def test_a_page_is_headed_by_every_status_of_its_problem(reason: Reason) -> None:
    also = [KEY_REUSED] if reason is Reason.IDEMPOTENCY_CONFLICT else []
    page: Response[bytes] = await explain.fn(reason.word)
    told = re.search(rb"<p>([0-9, ]+) <code>", page.content)
    assert told
    assert [int(one) for one in told[1].split(b", ")] == [*also, STATUS[reason]]


def test_both_languages_tell_how_long_a_body_may_be() -> None:
    for said in EXPLANATION[Reason.PAYLOAD_TOO_LARGE]:
        told = [
            int(number) * (1024 if unit == "KiB" else 1024**2)
            for number, unit in re.findall(r"(\d+) ([KM]iB)", said)
        ]
        assert told == [MOST_BODY, MOST_BATCH_BODY, MOST_JOB_BODY]


def test_both_languages_tell_what_a_body_may_be_declared_as() -> None:
    for said in EXPLANATION[Reason.UNSUPPORTED_MEDIA_TYPE]:
        assert re.findall(r"application/[a-z-]+", said) == ["application/json", NDJSON]

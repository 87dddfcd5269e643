"""The time an answer takes tells nothing that the answer does not.

Medians of calls that are made in turn over one connection, so that whatever else the machine
does befalls both.
"""

import gc
import json
import logging
import statistics
from random import Random
from typing import Any, Final

import pytest

from gateway.audit.entry import access_id, place_of
from gateway.partners import keys
from gateway.partners.keys import Environment, Kind
from tests.acceptance import questions
from tests.acceptance.callers import with_another_secret
from tests.acceptance.job_calls import claims, over, submit
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.acceptance.wire import Answer, Connection

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

log = logging.getLogger(__name__)

CALLS: Final = 10_000
APART: Final = 0.10
NO_JOB: Final = "ffffffffffff"


async def in_turn(
    connection: Connection, ways: dict[str, dict[str, Any]], calls: int
) -> tuple[dict[str, list[Answer]], dict[str, float]]:
    """Answers by the way they were asked, and their medians in seconds."""
    answers: dict[str, list[Answer]] = {name: [] for name in ways}
    chance, names = Random(1), list(ways)  # noqa: S311 - an order, no secret
    gc.disable()
    try:
        for _ in range(calls):
            for name in chance.sample(names, len(names)):
                answers[name].append(await connection.ask("GET", **ways[name]))
    finally:
        gc.enable()
    medians = {
        name: statistics.median(one.seconds for one in told)
        for name, told in answers.items()
    }
    return answers, medians


def check_alike(medians: dict[str, float]) -> None:
    # Shown by pytest -o log_cli=true --log-cli-level=INFO.
    log.info({name: f"{seconds * 1e6:,.0f} us" for name, seconds in medians.items()})
    least, most = min(medians.values()), max(medians.values())
    assert most <= (1 + APART) * least, medians


def told(answer: Answer) -> tuple[int, frozenset[str], object]:
    """An answer but for what differs from call to call."""
    document = answer.json
    document.pop("access_id", None)
    return answer.status, frozenset(answer.headers), json.dumps(document)


def beside(name: str) -> str:
    """An access_id as good as this one, in the same batch, that is nobody's."""
    place = place_of(name)
    assert place is not None
    return access_id(place._replace(position=place.position + 999))


async def test_an_unknown_id_takes_as_long_as_a_wrong_secret(service: Service) -> None:
    caller = service.newcomer()
    unknown = keys.make(Kind.INSTITUTION, Environment.TEST).text
    ways = {
        "wrong secret": {
            "target": "/v1/account",
            "key": with_another_secret(caller.key),
        },
        "unknown id": {"target": "/v1/account", "key": unknown},
    }
    async with Connection.opened(
        service.gateway.port, source="127.0.0.90"
    ) as connection:
        answers, medians = await in_turn(connection, ways, CALLS)
    assert len({told(one) for all_ in answers.values() for one in all_[-100:]}) == 1
    check_alike(medians)


async def test_what_is_anothers_takes_as_long_as_what_is_not_there(
    service: Service,
) -> None:
    owner, other = service.newcomer(), service.newcomer()
    asked = questions.verify(owner, nik_of(service.residents[3]), {"name": "A"})
    access = str((await service.put(asked)).access_id)
    job = (await submit(service, owner, [claims(service, 0)])).json["id"]
    await over(service, owner, job)
    for route, foreign, missing in (
        ("receipts", access, beside(access)),
        ("jobs", job, job[: -len(NO_JOB)] + NO_JOB),
    ):
        ways = {
            who: {"target": f"/v1/{route}/{one}", "key": other.key}
            for who, one in (("foreign", foreign), ("missing", missing))
        }
        async with Connection.opened(service.gateway.port) as connection:
            answers, medians = await in_turn(connection, ways, CALLS // 5)
        # On a busy machine limits cannot be checked in time now and then.
        found = [one for all_ in answers.values() for one in all_ if one.status != 503]
        assert len(found) > CALLS // 5
        alike = {told(one) for one in found}
        assert {status for status, _, _ in alike} == {404}, route
        assert len(alike) == 1, route
        check_alike(medians)

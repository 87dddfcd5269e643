"""A whole service for each file of fault tests: what they break is theirs alone."""

import time
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.service import Service, running
from tests.faults.breaking import answer_when


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    async with running(folder, residents=1000, newcomers=30) as service:
        yield service


@pytest.fixture
async def whole(service: Service) -> None:
    """What an earlier test broke is mended before the next begins."""
    await answer_when(
        lambda: service.ask("GET", "/health/ready"),
        lambda answer: answer.json == {"ready": True, "degraded": []},
        since=time.monotonic(),
        within=10,
    )

"""One whole service for all acceptance tests; those that break things have their own."""

from collections.abc import AsyncIterator

import pytest

from tests.acceptance.service import Service, running


@pytest.fixture(scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running(tmp_path_factory.mktemp("service")) as service:
        yield service

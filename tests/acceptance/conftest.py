"""One whole service for all acceptance tests; those that break things have their own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from gateway.partners import keeping
from gateway.partners.keys import Environment
from tests.acceptance.admins import Admin
from tests.acceptance.service import KNOWN_EVERYWHERE, Service, running

ADMINS: Final = 120


@pytest.fixture(scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="session")
async def admins(service: Service) -> Iterator[Admin]:
    """Admins that nobody has been yet, so that no refusal of theirs is one of a flood."""
    async with service.admin() as connection:
        made = [
            await keeping.create_staff(
                connection,
                service.peppers,
                role="admin",
                name="Admin Uji",
                not_after=None,
                environment=Environment.TEST,
            )
            for _ in range(ADMINS)
        ]
    await asyncio.sleep(KNOWN_EVERYWHERE)
    return iter([Admin(service, one.token.text) for one in made])


@pytest.fixture
def admin(admins: Iterator[Admin]) -> Admin:
    return next(admins)

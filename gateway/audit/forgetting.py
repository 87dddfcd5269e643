"""Forgets idempotency keys: what answered them is known for a day, and no longer.

A task beside the sealer. Where it stands still nothing is answered otherwise, since a
question looks at the last 24 hours alone; the tables grow.
"""

import asyncio
from typing import Final

from gateway.audit.batch import SQL
from gateway.postgres import Link

# A key's answer is due once a day; its claim, which is ten seconds long, as often.
PAUSE: Final = 60.0
MOST: Final = 5_000


class Forgetting:
    """Keeps the tables of idempotency keys small, by the sealer's role."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def run(self) -> None:
        """For ever: what is due is forgotten in steps, so that none takes long."""
        while True:
            async with self._link.connection() as connection:
                while await connection.fetchval(SQL["forget_keys"], MOST) >= MOST:
                    pass
            await asyncio.sleep(PAUSE)

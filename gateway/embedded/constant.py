"""A Litestar route that returns a constant, as fast as this machine serves one.

`python -m gateway.embedded.constant PORT`: one worker, under the gateway's own settings of
Granian. What the gateway does beside this is what it costs.
"""

import sys

from granian import Granian
from granian.constants import Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from litestar import Litestar, get


@get("/constant")
async def constant() -> dict[str, bool]:
    return {"constant": True}


def application() -> Litestar:
    return Litestar([constant], openapi_config=None, logging_config=None)


if __name__ == "__main__":
    Granian(
        "gateway.embedded.constant:application",
        factory=True,
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        workers=1,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        websockets=False,
        log_level=LogLevels.warning,
    ).serve()

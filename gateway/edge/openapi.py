"""GET /openapi.json: what programs may ask, as OpenAPI 3.1.

The document is openapi.json beside this file, written by hand and held to the routes,
the vocabulary and the readers of bodies by a test.
"""

from importlib.resources import files
from typing import Final

from litestar import Response, get

DOCUMENT: Final = files("gateway.edge").joinpath("openapi.json").read_bytes()


@get("/openapi.json", include_in_schema=False)
async def document() -> Response[bytes]:
    return Response(DOCUMENT, media_type="application/json")

"""GET /openapi.json: what programs may ask, as OpenAPI 3.1."""

from litestar import Response, get


@get("/openapi.json", include_in_schema=False)
async def document() -> Response[bytes]:
    return Response(b"{}", media_type="application/json")

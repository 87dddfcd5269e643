"""A route asked with a method it does not have: who asks comes first, then 405."""

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler

from gateway.edge.caller import HttpRequest, begin, credential, respond, services
from gateway.lookup import identify
from gateway.problems import MethodNotAllowed
from gateway.vocabulary import Operation

# Litestar would answer OPTIONS by itself, to anyone; HEAD it serves beside GET only.
_METHODS = tuple(HttpMethod)


def known(method: str) -> HttpMethod:
    """The method, or one that no route has in place of what Litestar does not know."""
    return HttpMethod(method) if method in _METHODS else HttpMethod.TRACE


def refuse_other_methods(
    path: str, operation: Operation, *allowed: str
) -> HTTPRouteHandler:
    """The handler of every method that the route at `path` does not have."""
    others = [method for method in _METHODS if method not in allowed]

    @route(
        path,
        http_method=others,
        include_in_schema=False,
        status_code=200,
        name=f"other methods of {path}",
    )
    async def refuse(request: HttpRequest) -> Response[bytes]:
        access = begin(request, operation)
        held = services(request)

        async def answer() -> Response[bytes]:
            async with held.journal.recording(access):
                identify(held.directory, access, credential(request), held.clock.now())
                raise MethodNotAllowed(allowed)

        return await respond(access, answer)

    return refuse

"""A route asked with a method it does not have: who asks comes first, then 405."""

from typing import Final

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler

from gateway.edge.caller import HttpRequest, begin, credential, respond, services
from gateway.lookup import identify
from gateway.problems import MethodNotAllowed
from gateway.vocabulary import Operation

# Litestar would answer OPTIONS by itself, to anyone; HEAD it serves beside GET only.
METHODS: Final = frozenset(method.value for method in HttpMethod)
# What no route has: it stands for all that Litestar does not know.
NO_ROUTES: Final = "TRACE"


def refuse_other_methods(
    path: str, operation: Operation, *allowed: str
) -> HTTPRouteHandler:
    """The handler of every method that the route at `path` does not have."""
    others = [HttpMethod(method) for method in sorted(METHODS - {*allowed})]

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

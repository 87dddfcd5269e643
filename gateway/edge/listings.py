"""What an admin reads: institutions, agreements, keys, certificates, staff. Never a secret.

Each look is an entry. Lists come in pages, in the order of ids (of keys: in which they
were made); `next` is the cursor of the page after, or null. One thing is told with its
last changes, each by the name of its entry.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from litestar import Response, get
from litestar.params import FromPath

from gateway.audit.access import Access
from gateway.audit.inspection import MOST_A_PAGE
from gateway.changes import Keeper, changes_of
from gateway.edge import strict
from gateway.edge.auditing import DEFAULT_PAGE, audited
from gateway.edge.caller import HttpRequest, Services
from gateway.partners.kinds import (
    AGREEMENTS,
    CERTIFICATES,
    INSTITUTIONS,
    KEYS,
    STAFF,
    Kind,
)
from gateway.partners.listing import Part
from gateway.partners.terms import (
    HIGHEST_ID,
    LONGEST_NAME,
    require_key_id,
    require_written_id,
)
from gateway.postgres import Connection
from gateway.problems import Fault, InvalidRequest, NotFound
from gateway.vocabulary import Actor

PARAMETERS: Final = ("limit", "cursor")
PARAMETERS_OF_INSTITUTIONS: Final = ("name", *PARAMETERS)
PARAMETERS_OF_HELD: Final = ("institution", *PARAMETERS)
R = TypeVar("R")


def keeper_of(held: Services) -> Keeper:
    """The worker's keeper.

    Raises:
        NotFound: this gateway has none (decision 21).
    """
    if held.keeper is None:
        raise NotFound
    return held.keeper


@get("/admin/institutions")
async def institutions(request: HttpRequest) -> Response[bytes]:
    return await page_of(request, INSTITUTIONS, PARAMETERS_OF_INSTITUTIONS)


@get("/admin/institutions/{institution:str}")
async def one_institution(
    request: HttpRequest, institution: FromPath[str]
) -> Response[bytes]:
    return await item_of(request, INSTITUTIONS, lambda: require_written_id(institution))


@get("/admin/agreements")
async def agreements(request: HttpRequest) -> Response[bytes]:
    return await page_of(request, AGREEMENTS, PARAMETERS_OF_HELD)


@get("/admin/agreements/{agreement:str}")
async def one_agreement(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[bytes]:
    return await item_of(request, AGREEMENTS, lambda: require_written_id(agreement))


@get("/admin/keys")
async def keys(request: HttpRequest) -> Response[bytes]:
    return await page_of(request, KEYS, PARAMETERS_OF_HELD)


@get("/admin/keys/{key:str}")
async def one_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
    return await item_of(request, KEYS, lambda: require_key_id(key))


@get("/admin/certificates")
async def certificates(request: HttpRequest) -> Response[bytes]:
    return await page_of(request, CERTIFICATES, PARAMETERS_OF_HELD)


@get("/admin/certificates/{certificate:str}")
async def one_certificate(
    request: HttpRequest, certificate: FromPath[str]
) -> Response[bytes]:
    return await item_of(request, CERTIFICATES, lambda: require_written_id(certificate))


@get("/admin/staff")
async def staff(request: HttpRequest) -> Response[bytes]:
    return await page_of(request, STAFF)


@get("/admin/staff/{member:str}")
async def one_of_staff(request: HttpRequest, member: FromPath[str]) -> Response[bytes]:
    return await item_of(request, STAFF, lambda: require_written_id(member))


async def page_of(
    request: HttpRequest, kind: Kind[R], parameters: tuple[str, ...] = PARAMETERS
) -> Response[bytes]:
    async def work(held: Services, _: Access) -> object:
        keeper = keeper_of(held)
        given = _given(request, parameters)
        limit = given.pop("limit", DEFAULT_PAGE)
        # One more than is shown, which tells whether there is a page after.
        part = Part(given.pop("cursor", 0), limit + 1)
        found = await keeper.lend(
            lambda connection: kind.find(connection, part=part, **given)
        )
        return _document(kind, found, limit)

    return await audited(request, kind.read, work, role=Actor.ADMIN)


def _given(request: HttpRequest, parameters: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of a list, all of them numbers save a name."""
    faults: list[Fault] = []
    given = strict.query_members(request.query_params.multi_items(), parameters, faults)
    told: dict[str, Any] = {}
    if "name" in given:
        text = given.pop("name")
        told["name"] = strict.read_text(text, faults, "?name", longest=LONGEST_NAME)
    most = {"limit": MOST_A_PAGE}
    numbers = {
        name: strict.read_number(
            text, faults, f"?{name}", least=1, most=most.get(name, HIGHEST_ID)
        )
        for name, text in given.items()
    }
    if faults:
        raise InvalidRequest(faults)
    return told | numbers


def _document(kind: Kind[R], found: Sequence[R], limit: int) -> object:
    shown = found[:limit]
    following = str(kind.place(shown[-1])) if len(found) > limit else None
    return {kind.name: list(map(kind.tell, shown)), "next": following}


async def item_of(
    request: HttpRequest, kind: Kind[R], read_id: Callable[[], int | str]
) -> Response[bytes]:
    async def work(held: Services, _: Access) -> object:
        keeper = keeper_of(held)
        _given(request, ())
        only = read_id()

        async def tell(connection: Connection) -> object:
            (found,) = await kind.find(connection, only=only)
            changed = await changes_of(connection, kind, only)
            return kind.tell(found) | {"changes": changed}

        return await keeper.lend(tell)

    return await audited(request, kind.read, work, role=Actor.ADMIN)

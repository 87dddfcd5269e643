"""What an admin reads: institutions, agreements, keys and staff. Never a secret.

Each look is an entry. Lists come in pages, in the order of ids (of keys: in which they
were made); `next` is the cursor of the page after, or null.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from litestar import Response, get
from litestar.params import FromPath

from gateway.audit.access import Access
from gateway.audit.inspection import MOST_A_PAGE
from gateway.changes import Keeper
from gateway.edge import strict
from gateway.edge.auditing import DEFAULT_PAGE, audited
from gateway.edge.caller import HttpRequest, Services
from gateway.partners import documents, listing
from gateway.partners.listing import Part
from gateway.partners.terms import HIGHEST_ID, require_key_id, require_written_id
from gateway.problems import Fault, InvalidRequest, NotFound
from gateway.vocabulary import Actor, Operation

PARAMETERS: Final = ("limit", "cursor")
PARAMETERS_OF_HELD: Final = ("institution", *PARAMETERS)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Kind(Generic[R]):
    """One kind of thing that is kept: its list's name, and how it is read and told.

    `place` is the number by which the list is in order.
    """

    name: str
    operation: Operation
    find: Callable[..., Awaitable[list[R]]]
    tell: Callable[[R], documents.Document]
    place: Callable[[R], int]
    parameters: tuple[str, ...] = PARAMETERS


INSTITUTIONS: Final = Kind(
    "institutions",
    Operation.INSTITUTION_READ,
    listing.list_institutions,
    documents.of_institution,
    lambda one: one.id,
)
AGREEMENTS: Final = Kind(
    "agreements",
    Operation.AGREEMENT_READ,
    listing.list_agreements,
    documents.of_agreement,
    lambda one: one.id,
    PARAMETERS_OF_HELD,
)
KEYS: Final = Kind(
    "keys",
    Operation.KEY_READ,
    listing.list_keys,
    documents.of_key,
    lambda one: one.number,
    PARAMETERS_OF_HELD,
)
STAFF: Final = Kind(
    "staff",
    Operation.STAFF_READ,
    listing.list_staff,
    documents.of_staff,
    lambda one: one.id,
)


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
    return await _page(request, INSTITUTIONS)


@get("/admin/institutions/{institution:str}")
async def one_institution(
    request: HttpRequest, institution: FromPath[str]
) -> Response[bytes]:
    return await _item(request, INSTITUTIONS, lambda: require_written_id(institution))


@get("/admin/agreements")
async def agreements(request: HttpRequest) -> Response[bytes]:
    return await _page(request, AGREEMENTS)


@get("/admin/agreements/{agreement:str}")
async def one_agreement(
    request: HttpRequest, agreement: FromPath[str]
) -> Response[bytes]:
    return await _item(request, AGREEMENTS, lambda: require_written_id(agreement))


@get("/admin/keys")
async def keys(request: HttpRequest) -> Response[bytes]:
    return await _page(request, KEYS)


@get("/admin/keys/{key:str}")
async def one_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
    return await _item(request, KEYS, lambda: require_key_id(key))


@get("/admin/staff")
async def staff(request: HttpRequest) -> Response[bytes]:
    return await _page(request, STAFF)


@get("/admin/staff/{member:str}")
async def one_of_staff(request: HttpRequest, member: FromPath[str]) -> Response[bytes]:
    return await _item(request, STAFF, lambda: require_written_id(member))


async def _page(request: HttpRequest, kind: Kind[R]) -> Response[bytes]:
    async def work(held: Services, _: Access) -> object:
        keeper = keeper_of(held)
        given = _given(request, kind.parameters)
        limit = given.pop("limit", DEFAULT_PAGE)
        # One more than is shown, which tells whether there is a page after.
        part = Part(given.pop("cursor", 0), limit + 1)
        found = await keeper.lend(
            lambda connection: kind.find(connection, part=part, **given)
        )
        return _document(kind, found, limit)

    return await audited(request, kind.operation, work, role=Actor.ADMIN)


def _given(request: HttpRequest, parameters: tuple[str, ...]) -> dict[str, int]:
    """The parameters of a list, all of them numbers."""
    faults: list[Fault] = []
    given = strict.query_members(request.query_params.multi_items(), parameters, faults)
    most = {"limit": MOST_A_PAGE}
    numbers = {
        name: strict.read_number(
            text, faults, f"?{name}", least=1, most=most.get(name, HIGHEST_ID)
        )
        for name, text in given.items()
    }
    if faults:
        raise InvalidRequest(faults)
    return {name: number for name, number in numbers.items() if number is not None}


def _document(kind: Kind[R], found: Sequence[R], limit: int) -> object:
    shown = found[:limit]
    following = str(kind.place(shown[-1])) if len(found) > limit else None
    return {kind.name: list(map(kind.tell, shown)), "next": following}


async def _item(
    request: HttpRequest, kind: Kind[R], read_id: Callable[[], int | str]
) -> Response[bytes]:
    async def work(held: Services, _: Access) -> object:
        keeper = keeper_of(held)
        _given(request, ())
        only = read_id()
        (found,) = await keeper.lend(
            lambda connection: kind.find(connection, only=only)
        )
        return kind.tell(found)

    return await audited(request, kind.operation, work, role=Actor.ADMIN)

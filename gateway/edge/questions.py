"""Reads the bodies of institutions' routes into questions. Pure."""

from collections.abc import Iterator
from typing import Final

from gateway.batching import MOST_ITEMS, OPERATIONS, Batch, Item
from gateway.calls import Question
from gateway.edge import strict
from gateway.leisure import at_leisure
from gateway.problems import Fault, InvalidRequest

_COMMON = ("nik", "purpose", "reference", "operator")
VERIFY_MEMBERS: Final = frozenset((*_COMMON, "claims"))
FETCH_MEMBERS: Final = frozenset((*_COMMON, "fields"))
BATCH_MEMBERS: Final = frozenset(("operation", "purpose", "items", "operator"))
ITEM_MEMBERS: Final = {
    "verify": frozenset(("id", "nik", "claims")),
    "fetch": frozenset(("id", "nik", "fields")),
}
_ANY_ITEM_MEMBERS: Final = frozenset(("id", "nik", "claims", "fields"))
# Of a thousand items each may have several: what is told of them stays short.
MOST_FAULTS: Final = 5_000


def read_verify(body: bytes) -> Question:
    """`{"nik", "purpose", "claims", "reference"?, "operator"?}`."""
    members, question = _read_common(body, VERIFY_MEMBERS)
    if members is not None:
        question.claims = strict.read_claims(members.get("claims"), question.faults)
        question.fields = tuple(question.claims)
    return question


def read_fetch(body: bytes) -> Question:
    """`{"nik", "purpose", "fields", "reference"?, "operator"?}`."""
    members, question = _read_common(body, FETCH_MEMBERS)
    if members is not None:
        question.fields = strict.read_fields(members.get("fields"), question.faults)
    return question


def _read_common(
    body: bytes, known: frozenset[str]
) -> tuple[dict[str, object] | None, Question]:
    try:
        members = strict.parse_object(body)
    except InvalidRequest as refusal:
        return None, Question(faults=refusal.faults)
    question = Question()
    faults = question.faults
    strict.check_members(members, known, faults)
    question.nik = strict.read_nik(members.get("nik"), faults)
    question.purpose = strict.read_purpose(members.get("purpose"), faults)
    if members.get("reference") is not None:
        question.reference = strict.read_text(
            members["reference"], faults, "/reference"
        )
    if members.get("operator") is not None:
        question.operator = strict.read_text(members["operator"], faults, "/operator")
    return members, question


async def read_batch(body: bytes) -> Batch:
    """`{"operation", "purpose", "items": [{"id", "nik", "claims"|"fields"}…], "operator"?}`."""
    try:
        members = strict.parse_object(body)
    except InvalidRequest as refusal:
        return Batch(faults=refusal.faults)
    batch = Batch()
    faults = batch.faults
    strict.check_members(members, BATCH_MEMBERS, faults)
    operation = members.get("operation")
    if isinstance(operation, str) and operation in OPERATIONS:
        batch.operation = operation
    else:
        faults.append(Fault("/operation", "want verify or fetch"))
    batch.purpose = strict.read_purpose(members.get("purpose"), faults)
    if members.get("operator") is not None:
        batch.operator = strict.read_text(members["operator"], faults, "/operator")
    await at_leisure(_read_items(members.get("items"), batch))
    if len(faults) > MOST_FAULTS:
        rest = len(faults) - MOST_FAULTS
        faults[MOST_FAULTS:] = [Fault("", f"{rest} more faults are not told here")]
    return batch


def _read_items(items: object, batch: Batch) -> Iterator[None]:
    """Item by item."""
    wanted = f"want a list of 1 to {MOST_ITEMS:,} items"
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
        batch.faults.append(Fault("/items", wanted))
        batch.count = len(items) if isinstance(items, list) and items else 1
        return
    batch.count = len(items)
    names: set[str] = set()
    for number, members in enumerate(items):
        at = f"/items/{number}"
        if isinstance(members, dict):
            item = read_item(members, batch, at)
            if item.id in names:
                batch.faults.append(Fault(f"{at}/id", "given to an item before"))
            names.add(item.id)
            batch.items.append(item)
        else:
            batch.faults.append(Fault(at, "want an object"))
        yield


def read_item(members: dict[str, object], batch: Batch, at: str) -> Item:
    """What is wrong is among the faults, and stands here as nothing."""
    faults, operation = batch.faults, batch.operation
    known = ITEM_MEMBERS.get(operation or "", _ANY_ITEM_MEMBERS)
    strict.check_members(members, known, faults, at)
    name = strict.read_text(members.get("id"), faults, f"{at}/id")
    nik = strict.read_nik(members.get("nik"), faults, f"{at}/nik")
    item = Item(name or at, nik or "", (), {})
    if operation == "verify":
        item.claims = strict.read_claims(members.get("claims"), faults, f"{at}/claims")
        item.fields = tuple(item.claims)
    elif operation == "fetch":
        item.fields = strict.read_fields(members.get("fields"), faults, f"{at}/fields")
    return item

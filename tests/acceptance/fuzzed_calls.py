"""What Schemathesis cannot know of our calls: its hooks, loaded by its own process.

GATEWAY_FUZZ_NIKS names a file of NIKs that somebody has, one a line; whoever asks does it
with GATEWAY_FUZZ_KEY, as the member of staff of that number in GATEWAY_FUZZ_MEMBER.
"""

import json
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import schemathesis

NIKS: Final = Path(os.environ["GATEWAY_FUZZ_NIKS"]).read_text("ascii").split()
PURPOSES: Final = ("kyc", "treatment")
# One in so many stays what it was: a NIK that nobody has, a purpose that nobody granted.
SELDOM: Final = 16
NIK: Final = re.compile(r"[0-9]{16}")
PURPOSE: Final = re.compile(r".{1,64}", re.DOTALL)
# What a schema cannot say of one member, so that what it allows may still be refused.
BEYOND_A_SCHEMA: Final = re.compile(
    r"[?/]cursor want .*"  # it is the `next` of the page before, of the same question
    r"|\S* want numbers within the log's head, in order"
    r"|\?end want at most 16384 leaves"
    r"|[?/]reason (given in the body too|want a text of 3 to 200 characters)"  # one of two
    r"|\S+ (want|must be) .*printable characters.*"  # of all of Unicode
    r"|\S+ must (not hold|hold neither) 16 digits in a row.*"  # of any script
    r"|\S+/id given to an item before"
    r"|/\d+/(claims|fields) (no such member|want .*)"  # a line of a job: as ?operation says
    r"|/items want no more than the burst.*"
    r"|/to must be later than from"
    r"|/limits there is no agreement: give all four"
    r"|/fingerprint is bound already"
    r"|/grants/\d+/purpose must (not be granted twice|be one of .*)"
    r"|/cidrs/\d+ must be a CIDR network.*"
    r"|/institution must be the one whose agreement it is"
    r"| nothing is given that would change"
    r"|/from .*|/not_after .*|/institution .*"
)
OTHER_BODY: Final = "the key came with another body"


@schemathesis.serializer("application/x-ndjson")
def one_line(_: object, value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


@schemathesis.hook
def map_body(_: object, body: Any) -> Any:
    return _likely(body)


@schemathesis.hook
def map_query(_: object, query: Any) -> Any:
    return _likely(query)


def _likely(value: Any, member: str = "") -> Any:
    """The same, such that more of it comes further than to its reader.

    NIKs that somebody has, purposes that are granted, printable texts, and seldom a cursor:
    none that is made up is one. Nothing becomes well formed by it that was not. A whole number
    is written as one: JSON Schema takes 1.0 for an integer, which no body of ours may hold.
    """
    if isinstance(value, dict):
        return {
            name: _likely(inner, name)
            for name, inner in value.items()
            if not (name == "cursor" and isinstance(inner, str) and _is_usual(inner))
        }
    if isinstance(value, list):
        return [_likely(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _likely_text(value, member) if isinstance(value, str) else value


def _likely_text(text: str, member: str) -> str:
    if member == "nik" and NIK.fullmatch(text) and _is_usual(text):
        return NIKS[_number(text) % len(NIKS)]
    if member == "purpose" and PURPOSE.fullmatch(text) and _is_usual(text):
        return PURPOSES[_number(text) % len(PURPOSES)]
    return "".join(one if one.isprintable() else "x" for one in text)


def _is_usual(text: str) -> bool:
    return _number(text) // 2**32 % SELDOM != 0


def _number(text: str) -> int:
    """Always the same for the same text, so that what was found can be shrunk."""
    return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:8])


@schemathesis.hook
def before_call(_: object, case: Any, __: object) -> None:
    """Nobody ends the token that they ask with: all after it would be refused."""
    named = case.path_parameters
    if named and (
        str(named.get("member")) == os.environ.get("GATEWAY_FUZZ_MEMBER")
        or str(named.get("key")) == os.environ.get("GATEWAY_FUZZ_KEY", "")[9:17]
    ):
        named.update(dict.fromkeys(named, "0"))


@schemathesis.hook
def filter_failure(_: object, failure: Any, case: Any, response: Any) -> bool:  # noqa: ARG001 - its signature
    """Whether it is one.

    A refusal of valid data may tell what no schema could say. And a machine that stands still
    for a second is answered for with a 503 (contract §4), not with a fault of ours: of those
    the gateway's log tells, and test_fuzzed.py looks there.
    """
    kind = type(failure).__name__
    if kind == "ServerError":
        return bool(response.status_code != 503)
    if kind != "RejectedPositiveData":
        return True
    told = response.json()
    if told.get("detail") == OTHER_BODY:
        return False
    refused = [f"{one['pointer']} {one['detail']}" for one in told.get("errors", ())]
    return not refused or not all(map(BEYOND_A_SCHEMA.fullmatch, refused))


@schemathesis.check
def no_refusal_repeats_a_nik(_: object, response: Any, __: object) -> None:
    if response.status_code >= 400:
        assert not re.search(r"(?<!\d)\d{16}(?!\d)", response.text)

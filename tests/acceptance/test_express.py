"""The short way to a lookup and Litestar's give the same answers."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.acceptance.service import Service
from tests.acceptance.wire import Answer

pytestmark = [pytest.mark.acceptance]

NIK: Final = "3171014501900001"
VERIFY: Final = {"nik": NIK, "purpose": "kyc", "claims": {"name": "SITI"}}
FETCH: Final = {"nik": NIK, "purpose": "treatment", "fields": ["name"]}
JSON: Final = {"Content-Type": "application/json"}
# Beside those with nothing odd: what is read from the request in a way of our own.
ASKED: Final[list[tuple[str, Mapping[str, Any]]]] = [
    ("/v1/verify", {"json": VERIFY}),
    ("/v1/fetch", {"json": FETCH}),
    ("/v1/verify", {"json": {**VERIFY, "purpose": "tax"}}),
    ("/v1/verify", {"body": b"{"}),
    ("/v1/verify", {"body": b"{", "headers": JSON}),
    ("/v1/verify", {"json": VERIFY, "headers": {"Idempotency-Key": "a b"}}),
    ("/v1/fetch", {"body": b" " * 16_385, "headers": JSON}),
    ("/v1/fetch", {"body": b" " * 16_384, "headers": JSON}),
    ("/v1/fetch", {"headers": JSON}),
]
# These differ from call to call, or tell where the limits stand.
PASSING: Final = ("access-id", "content-length", "date", "ratelimit")


def lasting(answer: Answer) -> tuple[int, dict[str, str], object]:
    kept = {n: v for n, v in answer.headers.items() if n not in PASSING}
    document = answer.json
    document.pop("access_id", None)
    return answer.status, kept, document


@pytest.mark.parametrize(("path", "asked"), ASKED)
async def test_both_ways_to_a_lookup_give_the_same_answer(
    service: Service, path: str, asked: Mapping[str, Any]
) -> None:
    caller = service.newcomer()
    # With a slash at its end the path is another to all but Litestar.
    short, long = [
        await service.ask("POST", target, key=caller.key, **asked)
        for target in (path, f"{path}/")
    ]
    assert lasting(short) == lasting(long)


async def test_a_body_in_pieces_is_read_whole_and_no_further_than_its_limit(
    service: Service,
) -> None:
    caller = service.newcomer()
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    padded = b'{"nik":"' + NIK.encode() + b'"' + b" " * 8_000
    pieces = [padded, b',"purpose":"kyc","claims":{"name":"SITI"}}']
    for more, status in ((b"", 200), (b" " * 16_384, 413)):
        body = b"".join(
            f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            for piece in (*pieces, more)
            if piece
        )
        answer = await service.ask(
            "POST",
            "/v1/verify",
            key=caller.key,
            body=body + b"0\r\n\r\n",
            headers=headers,
        )
        assert answer.status == status

"""Requests that two readers may part differently, and what comes back of them.

After the research on request smuggling since 2005: each hides a second request in what one
reader takes for the first one's body. RFC 9112 §6.3 and §11.2 say how to read them.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.acceptance.wire import Connection

# How long nothing comes before it is taken that nothing will: only what is looked for in
# the log afterwards decides.
QUIET_SECONDS: Final = 0.5
NO_ANSWER_SECONDS: Final = 4.0
MOST: Final = 1 << 20

_HOST: Final = "Host: gateway.example\r\n"
_JSON: Final = "Content-Type: application/json\r\n"

# Each with a Content-Length of the whole body beside it.
_CODINGS: Final = (
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "X: x\r\n\tTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding\r\n: chunked",
    "X: x\nTransfer-Encoding: chunked",
    "X: x\rTransfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: \x0cchunked",
    "Transfer-Encoding: \x00chunked",
    "Transfer-Encoding: chunked\x00",
    "Transfer-Encoding: \xa0chunked",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding\x00: chunked",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
)
# No coding, in whatever words: the length alone counts.
_NO_CODINGS: Final = ("Transfer_Encoding: chunked", "Connection: Content-Length")
# {n} is the length of what follows.
_LENGTHS: Final = (
    "Content-Length: 0\r\nContent-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: 0",
    "Content-Length: {n}\r\nContent-Length: {n}",
    "Content-Length: 0, {n}",
    "Content-Length: {n}, 0",
    "Content-Length: {n}, {n}",
    "Content-Length: +{n}",
    "Content-Length: -{n}",
    "Content-Length: -0",
    "Content-Length: 0x{n}",
    "Content-Length: 0{n}",
    "Content-Length: {n} 0",
    "Content-Length: {n}_0",
    "Content-Length: {n}.0",
    "Content-Length: {n}e0",
    "Content-Length: {n};a",
    "Content-Length: \x0b{n}",
    "Content-Length: \x00{n}",
    "Content-Length: {n}\x00",
    "Content-Length : {n}",
    "Content-Length\t: {n}",
    " Content-Length: {n}",
    "Content-Length:\r\n {n}",
    "X: x\nContent-Length: {n}",
    "X: x\rContent-Length: {n}",
    "Content-Length: 18446744073709551616",
    "Content-Length: 99999999999999999999999999",
    "Content-Length: \xb2",
)
# Instead of the size of a chunk that holds what follows; {x} is that size.
_SIZES: Final = (
    "{x};a=b",
    '{x};a="\\""',
    "{x};\n",
    "{x};a\nb",
    "{x};a\rb",
    "{x} ",
    " {x}",
    "\t{x}",
    "0x{x}",
    "+{x}",
    "-{x}",
    "{x}_0",
    "{x}g",
    "{x}\x00",
    "",
    "000000000000000000000000{x}",
    "1000000000000000{x}",
    "ffffffffffffffff",
    "ffffffffffffffffffff",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The statuses of whole answers; whether the other side closed; what is no answer."""

    statuses: tuple[int, ...]
    closed: bool
    rest: bytes


def corpus(hidden: bytes) -> Mapping[str, bytes]:
    """Requests by what is odd about each; every one has `hidden` in what is its body."""
    cases: dict[str, bytes] = {}
    chunk = f"{len(hidden):x}\r\n".encode() + hidden + b"\r\n0\r\n\r\n"
    ended = b"0\r\n\r\n" + hidden
    for one in _CODINGS + _NO_CODINGS:
        cases[f"CL.TE {one!r}"] = _post(f"Content-Length: {len(ended)}\r\n{one}", ended)
    for one in _CODINGS:
        cases[f"TE.CL {one!r}"] = _post(f"{one}\r\nContent-Length: 4", chunk)
    for one in _LENGTHS:
        cases[f"length {one!r}"] = _post(one.format(n=len(hidden)), hidden)
    for one in _SIZES:
        size = one.format(x=f"{len(hidden):x}")
        body = f"{size}\r\n".encode("latin-1") + hidden + b"\r\n0\r\n\r\n"
        cases[f"chunk {one!r}"] = _post("Transfer-Encoding: chunked", body)
    return cases | _pieces(hidden) | _others(hidden)


def _pieces(hidden: bytes) -> dict[str, bytes]:
    """Chunks whose ends, not sizes, are odd."""
    size = f"{len(hidden):x}".encode()
    bodies = {
        "size ended by LF": size + b"\n" + hidden + b"\r\n0\r\n\r\n",
        "size ended by CR": size + b"\r" + hidden + b"\r\n0\r\n\r\n",
        "data ended by LF": size + b"\r\n" + hidden + b"\n0\r\n\r\n",
        "data not ended": size + b"\r\n" + hidden + b"0\r\n\r\n",
        "data longer than its size": b"1\r\n" + hidden + b"\r\n0\r\n\r\n",
        "last ended by LF": b"0\n\n" + hidden,
        "extension with a request": b"0;a=" + hidden + b"\r\n\r\n",
        "trailer with a length": b"0\r\nContent-Length: 5\r\n\r\n",
        "trailer with a coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    }
    return {
        f"chunk {name}": _post("Transfer-Encoding: chunked", body)
        for name, body in bodies.items()
    }


def _others(hidden: bytes) -> dict[str, bytes]:
    """Other ways to end a head, a line or a request early."""
    length = f"Content-Length: {len(hidden)}"
    head = f"POST /v1/verify HTTP/1.1\r\n{_HOST}{_JSON}{length}\r\n"
    body = hidden.decode("latin-1")
    chunked = f"0\r\n\r\n{body}"
    cases = {
        "GET with a body": f"GET /v1/verify HTTP/1.1\r\n{_HOST}{length}\r\n\r\n{body}",
        "HEAD with a body": f"HEAD /v1/verify HTTP/1.1\r\n{_HOST}{length}\r\n\r\n{body}",
        "a body nobody reads": f"{head}\r\n{body}",
        "lines ended by LF": head.replace("\r\n", "\n") + f"\n{body}",
        "head ended by LF": f"{head}\n{body}",
        "lines ended by CR": head.replace("\r\n", "\r") + f"\r{body}",
        "obs-fold": f"{head}X: x\r\n {body}",
        "obs-fold first": head.replace(_HOST, f" folded\r\n{_HOST}") + f"\r\n{body}",
        "NUL in a value": f"{head}X: \x00\r\n\r\n{body}",
        "NUL in a name": f"{head}X\x00: x\r\n\r\n{body}",
        "NUL in the target": head.replace("verify", "veri\x00fy") + f"\r\n{body}",
        "space in the target": head.replace("verify", "veri fy") + f"\r\n{body}",
        "no colon": f"{head}X\r\n\r\n{body}",
        "no name": f"{head}: x\r\n\r\n{body}",
        "space before the colon": f"{head}X : x\r\n\r\n{body}",
        "two hosts": head.replace(_HOST, f"{_HOST}Host: other\r\n") + f"\r\n{body}",
        "no host": head.replace(_HOST, "") + f"\r\n{body}",
        "HTTP/0.9": f"GET /health/live\r\n{body}",
        "HTTP/1.0": head.replace("HTTP/1.1", "HTTP/1.0") + f"\r\n{body}",
        "HTTP/1.0 chunked": f"POST /v1/verify HTTP/1.0\r\n{_HOST}{_JSON}"
        f"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}",
        "HTTP/2 by name": head.replace("HTTP/1.1", "HTTP/2.0") + f"\r\n{body}",
        "HTTP/9.9": head.replace("HTTP/1.1", "HTTP/9.9") + f"\r\n{body}",
        "http in small letters": head.replace("HTTP", "http") + f"\r\n{body}",
        "HTTP/2 at once": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + f"{head}\r\n{body}",
        "h2c": f"{head}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{body}",
        "websocket": f"{head}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n{body}",
        "Expect": f"{head}Expect: 100-continue\r\n\r\n{body}",
        "another Expect": f"{head}Expect: 200-ok\r\n\r\n{body}",
        "absolute": head.replace(" /v1", " http://other.example/v1") + f"\r\n{body}",
        "authority": f"CONNECT other.example:443 HTTP/1.1\r\n{_HOST}{length}\r\n\r\n{body}",
        "asterisk": f"OPTIONS * HTTP/1.1\r\n{_HOST}{length}\r\n\r\n{body}",
        "TRACE": f"TRACE /v1/verify HTTP/1.1\r\n{_HOST}{length}\r\n\r\n{body}",
        "a method with odd letters": f"PO(ST{head[4:]}\r\n{body}",
        "a long value": f"{head}X: {'a' * MOST}\r\n\r\n{body}",
        "many names": head
        + "".join(f"X-{n}: x\r\n" for n in range(9999))
        + f"\r\n{body}",
        "a long target": head.replace("verify", "a" * MOST) + f"\r\n{body}",
        "a long method": "A" * MOST + f" / HTTP/1.1\r\n{_HOST}{length}\r\n\r\n{body}",
        "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 500,
    }
    return {name: text.encode("latin-1") for name, text in cases.items()}


def _post(headers: str, body: bytes) -> bytes:
    head = f"POST /v1/verify HTTP/1.1\r\n{_HOST}{_JSON}{headers}\r\n\r\n"
    return head.encode("latin-1") + body


async def send(connection: Connection, sent: bytes) -> Outcome:
    """Sends it as it is, and reads until the other side closes or falls silent."""
    received = b""
    closed = False
    with suppress(TimeoutError):
        try:
            connection.writer.write(sent)
            while not closed:
                patience = QUIET_SECONDS if received else NO_ANSWER_SECONDS
                async with asyncio.timeout(patience):
                    piece = await connection.reader.read(65_536)
                received += piece
                closed = not piece
        except ConnectionError:
            closed = True
    statuses, rest = parted(received, bodies=not sent.startswith(b"HEAD "))
    return Outcome(tuple(statuses), closed, rest)


def parted(received: bytes, *, bodies: bool = True) -> tuple[list[int], bytes]:
    """The statuses of the whole answers, interim ones left out, and what is left."""
    statuses: list[int] = []
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1."):
            return statuses, received
        lines = head.decode("latin-1").lower().split("\r\n")
        status = int(lines[0].split(" ")[1])
        named = dict(line.split(": ", 1) for line in lines[1:])
        length = int(named.get("content-length", "0")) if bodies else 0
        if len(rest) < length:
            return statuses, received
        received = rest[length:]
        if status >= 200:
            statuses.append(status)

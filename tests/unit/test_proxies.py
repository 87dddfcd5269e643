"""Whose call it is: the connection's, unless a proxy of ours says whose."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.proxies import TrustedProxies

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
PEER = "10.0.0.9"


async def client_of(peer: str, *told: str) -> str:
    """Whom the application behind takes for the client."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI
        seen.append(scope["client"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in told]
    scope: Any = {"type": "http", "client": (peer, 4711), "headers": headers}
    await TrustedProxies(app, PROXIES)(scope, nothing, nothing)
    ((address, port),) = seen
    assert port == 4711
    return str(address)


@pytest.mark.parametrize(
    ("told", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["2001:DB8:0::7"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        # What stands at the left is what the caller sent.
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["no address,203.0.113.7"], "203.0.113.7"),
        # Through two proxies of ours, one of which sees the other by IPv6.
        (["198.51.100.1, 203.0.113.7, fd00::2"], "203.0.113.7"),
        (["203.0.113.7,\t10.0.0.2 "], "203.0.113.7"),
        # Several headers are one list (RFC 9110 §5.3).
        (["198.51.100.1", "203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        # A proxy of ours asks for itself.
        (["10.0.0.2"], "10.0.0.2"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([], PEER),
        ([""], PEER),
    ],
)
async def test_it_is_the_rightmost_address_that_is_no_proxy_of_ours(
    told: list[str], client: str
) -> None:
    assert await client_of(PEER, *told) == client


@pytest.mark.parametrize(
    "text",
    [
        *("unknown", "203.0.113.7:4711", "[2001:db8::7]", "203.0.113", "203.0.113.07"),
        *("203.0.113.7,", "203.0.113.7 198.51.100.1", "²03.0.113.7", "10.0.0.0/8", "-"),
        "fe80::1%eth0",
    ],
)
async def test_what_is_no_address_makes_it_the_call_of_the_proxy_that_wrote_it(
    text: str,
) -> None:
    assert await client_of(PEER, f"198.51.100.1, {text}") == PEER
    assert await client_of(PEER, f"198.51.100.1, {text}, 10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize("peer", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::7"])
@given(told=st.lists(st.text(st.characters(max_codepoint=255)), max_size=3))
async def test_nobody_else_is_believed(peer: str, told: list[str]) -> None:
    assert await client_of(peer, *told) == peer
    assert await client_of(peer, "198.51.100.1", PEER) == peer


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.9", "fd00::9"])
async def test_a_proxy_is_known_by_either_family(peer: str) -> None:
    assert await client_of(peer, "203.0.113.7") == "203.0.113.7"


@given(told=st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
async def test_whatever_is_told_the_outcome_is_an_address(told: list[str]) -> None:
    address = await client_of(PEER, *told)
    assert address == str(ip_address(address))

"""The digest under a key that stays is HMAC-SHA-256."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.keyed import Keyed

# RFC 4231 §4.2, 4.3, 4.7.
VECTORS = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("key", "message", "digest"), VECTORS)
def test_it_is_that_of_the_rfc(key: bytes, message: bytes, digest: str) -> None:
    keyed = Keyed(key)
    assert keyed.digest(message).hex() == digest
    # And once more: a digest leaves nothing behind.
    assert keyed.digest(message).hex() == digest


@given(key=st.binary(max_size=200), messages=st.lists(st.binary(), max_size=5))
def test_it_is_that_of_the_standard_library(key: bytes, messages: list[bytes]) -> None:
    keyed = Keyed(key)
    for message in messages:
        assert keyed.digest(message) == hmac.digest(key, message, "sha256")

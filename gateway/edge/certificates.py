"""The client certificate that a call came with, in the words of nginx: pure.

TLS ends at a proxy, so the certificate comes in a header: what `$ssl_client_escaped_cert`
of nginx holds, a PEM that is escaped as in a URL. Only a proxy of ours is believed, which
gateway/edge/proxies.py sees to; and it must send the header only for a certificate that it
has verified, in place of whatever the caller sent.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import unquote_to_bytes

HEADER: Final = b"x-client-certificate"
# Far more than a certificate needs; what is longer is none.
LONGEST: Final = 16_384

_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/][A-Za-z0-9+/=\s]*)"
    rb"-----END CERTIFICATE-----\s*"
)


def presented(told: Sequence[bytes]) -> bytes | None:
    """The SHA-256 of the certificate's DER: 32 bytes (x5t#S256 of RFC 8705 §3.1).

    None where there is no header, where it holds no certificate, and where there are
    two: then one of them is the caller's own.
    """
    if len(told) != 1 or len(told[0]) > LONGEST:
        return None
    return _fingerprint(told[0])


@lru_cache(maxsize=1024)
def _fingerprint(told: bytes) -> bytes | None:
    found = _PEM.fullmatch(unquote_to_bytes(told))
    if found is None:
        return None
    try:
        der = b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        return None
    return sha256(der).digest()

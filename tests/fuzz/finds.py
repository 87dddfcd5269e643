"""What searches have found: each made its parser fail until that was mended."""

import base64
from typing import Final

from tests.fuzz.parsers import SIGNER

FINDS: Final[dict[str, list[bytes]]] = {
    # Half of a character, of which no hash can be made.
    # And a key with more padding than it needs.
    "note_key": [
        b"\xff+00000000+" + base64.b64encode(b"\1" + bytes(32)),
        SIGNER.key.text.encode() + b"=",
    ],
    # Its scope was taken, and then forgotten.
    "admin_body": [b'{"cidrs":["fe80::%eth0/64"]}'],
    # The line told of depended on the pieces that the body came in.
    "job_lines": [b"\x7f\n\n" + b"a" * 16_385],
}

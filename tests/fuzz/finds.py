"""What searches have found: each made its parser fail until that was mended."""

import base64
from typing import Final

FINDS: Final[dict[str, list[bytes]]] = {
    # Half of a character, of which no hash can be made.
    "note_key": [b"\xff+00000000+" + base64.b64encode(b"\1" + bytes(32))],
    # Its scope was taken, and then forgotten.
    "admin_body": [b'{"cidrs":["fe80::%eth0/64"]}'],
    # The line told of depended on the pieces that the body came in.
    "job_lines": [b"\x7f\n\n" + b"a" * 16_385],
}

"""What a search begins with: for each parser a few texts that it reads, or nearly."""

import base64
import json
from typing import Final

from gateway.audit.checkpoint import note_text
from gateway.audit.entry import Place, access_id
from gateway.audit.inspection import Mark
from gateway.audit.witness import Submission
from gateway.partners.keys import checksum
from tests.fuzz.parsers import COSIGNER, CURSORS, EXPORT, GENUINE, HEAD, SIGNER

NIK: Final = "3171014501909001"
BODY: Final = "gdk_test_Ab3dE6gH0123456789ABCDEFGHIJKLMNOPabcd"
COSIGNED: Final = f"{GENUINE}{COSIGNER.cosign(note_text(GENUINE), 1_800_000_000)}\n"


def _json(**members: object) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode()


VERIFY: Final = _json(
    nik=NIK,
    purpose="kyc",
    claims={"name": "SITI AMINAH", "birth_date": "1990-01-05", "rt": "003"},
    reference="loan 4711",
    operator="dr. Budi",
)
FETCH: Final = _json(nik=NIK, purpose="treatment", fields=["name", "blood_type"])
ITEMS: Final[dict[str, dict[str, object]]] = {
    "verify": {"id": "row-1", "nik": NIK, "claims": {"sex": "P"}},
    "fetch": {"id": "row-2", "nik": NIK, "fields": ["address"]},
}
AGREEMENT: Final = _json(
    name="Bank Contoh",
    role="auditor",
    status="suspended",
    institution=123,
    **{"from": "2026-01-01T00:00:00+07:00", "to": "2031-01-01T00:00:00Z"},
    grants=[
        {
            "purpose": "kyc",
            "operations": ["verify", "batch"],
            "fields": ["name"],
            "name_similarity": 0.9,
        }
    ],
    limits={"rate": 50, "burst": 100, "day": 10_000, "month": 200_000},
    cidrs=["203.0.113.0/24", "2001:db8::/32", "::ffff:10.0.0.0/104", "fe80::%eth0/64"],
)

SEEDS: Final[dict[str, list[bytes]]] = {
    "key": [f"{BODY}{checksum(BODY)}".encode(), BODY.encode(), b"Bearer gds_live_"],
    "cursor": [
        CURSORS.seal(Mark(1_800_000_000_000_000, 7, 1), "another").encode(),
        base64.urlsafe_b64encode(bytes(34)),
    ],
    "named_access": [access_id(Place(1_800_000_000_000 << 21, 3)).encode()],
    "verify_body": [VERIFY, b'{"nik":1,"nik":"1","claims":{"a":[{}]}}', FETCH],
    "fetch_body": [FETCH, b'\xef\xbb\xbf{"fields":["name","name",null]}', VERIFY],
    "batch_body": [
        _json(operation=asked, purpose="kyc", items=[item, item], operator="Budi")
        for asked, item in ITEMS.items()
    ],
    "job_lines": [
        b"\x05" + _json(**ITEMS["verify"]) + b"\n" + _json(**ITEMS["fetch"]),
        b"\xff" + _json(**ITEMS["fetch"]) + b"\n",
        b"\x7f\n{}\n[]\n\xff\n",
    ],
    "admin_body": [AGREEMENT, b'{"limits":{"rate":1e999,"day":true},"cidrs":[{}]}'],
    "instant": [
        b"2026-11-24T13:00:00.123456Z",
        b"0001-01-01t00:00:00+14:00",
        b"9999-12-31T23:59:59-23:59",
        b"2026-02-30T24:60:60z",
    ],
    "query": [b"limit=10&reason=complaint 42", f"reason={NIK}&{NIK}=1&a&a".encode()],
    "idempotency_key": [b"8e03978e-40d5", b' "a \\" quoted \\\\ key"\t', b'"'],
    "certificate": [
        b"-----BEGIN%20CERTIFICATE-----%0AMIIB%2BjCCAaA%3D%0A-----END%20CERTIFICATE-----%0A",
        b"-----BEGIN CERTIFICATE-----\tAA= =\n-----END CERTIFICATE-----",
    ],
    "forwarded": [
        b"198.51.100.1, 203.0.113.7,10.0.0.2",
        b"::ffff:10.0.0.3\n2001:db8::7\t",
        b"fe80::1%eth0,fd00::2\n",
    ],
    "note": [GENUINE.encode(), COSIGNED.encode(), HEAD.text.encode()],
    "note_key": [SIGNER.key.text.encode(), COSIGNER.key.text.encode()],
    "submission": [
        Submission(7, [], GENUINE).body,
        Submission(3, [bytes(32), bytes(32)], COSIGNED).body,
    ],
    "proof": [json.dumps(EXPORT.proof(1, 5)).encode()],
    "export": [b"".join(line + b"\n" for line in EXPORT.lines[1:5])],
}

"""Cosignatures and notes: the bytes that others' programs make and read."""

import base64
import struct
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.checkpoint import Checkpoint, NoteKey
from gateway.audit.cosignature import Cosigner, CosignerKey, cosigners
from gateway.settings import NumberedKeys
from tests.evidence.published import (
    COSIGNED,
    COSIGNED_AT,
    COSIGNER_KEY,
    NOTE,
    NOTE_KEY,
)

ORIGIN = "log.example/residents"
COSIGNER = Cosigner("witness.example/w1", bytes(range(1, 33)))
AT = 1_764_000_000


def test_a_published_cosignature_verifies_under_its_published_key() -> None:
    key = CosignerKey.read(COSIGNER_KEY)
    assert key is not None
    assert key.text == COSIGNER_KEY
    found = key.cosignature(COSIGNED)
    assert found is not None
    assert found.line.startswith("\u2014 remora.n621.de ")
    assert found.at == COSIGNED_AT


@pytest.mark.parametrize(
    "changed", ["1432088533", "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Rp="]
)
def test_a_cosignature_is_over_the_whole_head(changed: str) -> None:
    key = CosignerKey.read(COSIGNER_KEY)
    line = 1 if changed.isdecimal() else 2
    lines = COSIGNED.split("\n")
    lines[line] = changed
    assert key is not None
    assert not key.verifies("\n".join(lines))


def test_a_published_note_verifies_under_its_published_key() -> None:
    key = NoteKey.read(NOTE_KEY)
    assert key is not None
    assert key.text == NOTE_KEY
    assert key.verifies(NOTE)
    assert not key.verifies(NOTE.replace("know", "knew"))


def test_note_keys_and_cosignature_keys_are_not_taken_for_each_other() -> None:
    assert NoteKey.read(COSIGNER_KEY) is None
    assert CosignerKey.read(NOTE_KEY) is None


def test_signature_lines_that_are_not_ascii_are_passed_over() -> None:
    strange = NOTE.replace(
        "\u2014 Peter", "\u2014 PeterNeumann \u00e9\u00e9\n\u2014 Peter"
    )
    key = NoteKey.read(NOTE_KEY)
    assert key is not None
    assert key.verifies(strange)
    assert NoteKey.read("name+c74f20a3+\u00e9") is None


def test_a_cosignature_is_the_time_and_a_signature_over_time_and_note() -> None:
    text = Checkpoint(ORIGIN, 7, bytes(32)).text
    line = COSIGNER.cosign(text, AT)
    name, encoded = line.removeprefix("\u2014 ").split(" ")
    raw = base64.b64decode(encoded)
    assert name == "witness.example/w1"
    public = COSIGNER.key.public
    hashed = sha256(b"witness.example/w1\n\x04" + public).digest()
    assert raw[:4] == hashed[:4]
    assert struct.unpack(">Q", raw[4:12]) == (AT,)
    message = f"cosignature/v1\ntime {AT}\n{ORIGIN}\n7\n{'A' * 43}=\n"
    Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], message.encode())
    assert COSIGNER.key.cosignature(f"{text}\n{line}\n") == (line, AT)


def test_a_time_beyond_what_the_format_has_is_no_cosignature() -> None:
    text = Checkpoint(ORIGIN, 7, bytes(32)).text
    late = COSIGNER.cosign(text, 2**63)
    assert not COSIGNER.key.verifies(f"{text}\n{late}\n")
    assert COSIGNER.key.verifies(f"{text}\n{COSIGNER.cosign(text, 2**63 - 1)}\n")


def test_every_secret_of_a_witness_cosigns_the_newest_first() -> None:
    both = cosigners(NumberedKeys({1: b"o" * 32, 2: b"n" * 32}), "witness.example")
    assert [one.key for one in both] == [
        Cosigner("witness.example", b"n" * 32).key,
        Cosigner("witness.example", b"o" * 32).key,
    ]

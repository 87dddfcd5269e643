"""Checkpoints as C2SP signed notes: what others can read, and what is refused."""

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.audit.checkpoint import Checkpoint, NoteKey, Signer, note_keys
from gateway.audit.proof import read_checkpoint, signed_by
from gateway.settings import NumberedKeys
from tests.evidence.published import NOTE as GO_NOTE
from tests.evidence.published import NOTE_KEY as GO_KEY
from tests.written_logs import KEY, ORIGIN, sign

SIGNER = Signer(ORIGIN, bytes(range(32)))
HEAD = Checkpoint(ORIGIN, 20_852_163, bytes(range(32)))
NOTE = SIGNER.sign(HEAD)


def test_a_note_is_three_lines_an_empty_one_and_a_signature() -> None:
    origin, size, root, empty, signature, end = NOTE.split("\n")
    assert (origin, size, empty, end) == (ORIGIN, "20852163", "", "")
    assert base64.b64decode(root, validate=True) == HEAD.root
    dash, name, encoded = signature.split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    raw = base64.b64decode(encoded, validate=True)
    assert raw[:4] == SIGNER.key.hash
    public = Ed25519PublicKey.from_public_bytes(SIGNER.key.public)
    public.verify(raw[4:], f"{ORIGIN}\n20852163\n{root}\n".encode())


def test_a_note_is_the_one_that_another_signer_makes() -> None:
    assert sign(HEAD.text) == NOTE


def test_a_keys_hash_is_of_its_name_type_and_public_key() -> None:
    key = SIGNER.key
    expected = sha256(ORIGIN.encode() + b"\n\x01" + key.public).digest()[:4]
    assert key.hash == expected
    encoded = base64.b64encode(b"\x01" + key.public).decode()
    assert key.text == f"{ORIGIN}+{expected.hex()}+{encoded}"
    assert NoteKey.read(f" {key.text}\n") == key == KEY


def test_keys_and_notes_of_the_reference_implementation_are_read() -> None:
    key = NoteKey.read(GO_KEY)
    assert key is not None
    assert key.text == GO_KEY
    assert key.verifies(GO_NOTE)
    assert not key.verifies(GO_NOTE.replace("answer", "amswer"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        GO_KEY.replace("PeterNeumann", "PeterNeuman"),
        GO_KEY.replace("PeterNeumann", ""),
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("10TW", "10TX"),
        GO_KEY[:-4],
        GO_KEY.replace("+ARpc", "+Arpc"),
        GO_KEY + "!",
    ],
)
def test_a_key_that_is_not_whole_is_none(text: str) -> None:
    assert NoteKey.read(text) is None


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("20852163", "20852164"),
        (ORIGIN, "log.example/others"),
        (f"\n\n\u2014 {ORIGIN}", "\n\n\u2014 another"),
        ("\u2014", "-"),
        ("\n\n\u2014", "\n\u2014"),
        ("=\n\n", "=\nan extension\n\n"),
    ],
)
def test_a_note_altered_anywhere_is_refused(was: str, becomes: str) -> None:
    altered = NOTE.replace(was, becomes)
    assert altered != NOTE
    assert not signed_by(altered, [KEY])


def test_a_note_with_any_bit_of_its_text_flipped_is_refused() -> None:
    signed = NOTE.partition("\n\n")[0].encode()
    rest = NOTE.encode()[len(signed) :]
    for at in range(len(signed)):
        altered = bytearray(signed)
        altered[at] ^= 1
        assert not signed_by((bytes(altered) + rest).decode("latin-1"), [KEY])


def test_other_signatures_beside_the_logs_do_no_harm() -> None:
    other = Signer("witness.example", bytes(32)).sign(HEAD).rpartition("\n\n")[2]
    assert signed_by(NOTE + other, [KEY])
    head, _, own = NOTE.rpartition("\n\n")
    assert signed_by(f"{head}\n\n{other}{own}", [KEY])
    assert not signed_by(f"{head}\n\n{other}", [KEY])


def test_a_checkpoint_is_read_back_from_its_note() -> None:
    assert read_checkpoint(NOTE) == HEAD


@pytest.mark.parametrize("size", ["", "-1", "+1", "01", "1_000", " 1", "one", "1.0"])
def test_a_size_that_is_no_decimal_number_is_no_checkpoint(size: str) -> None:
    assert read_checkpoint(NOTE.replace("20852163", size)) is None


def test_every_secret_gives_its_verifier_key_newest_first() -> None:
    secrets = NumberedKeys({1: bytes(range(32)), 3: bytes(32), 2: b"2" * 32})
    expected = [Signer(ORIGIN, secrets.by_number[n]).key for n in (3, 2, 1)]
    assert note_keys(secrets, ORIGIN) == expected

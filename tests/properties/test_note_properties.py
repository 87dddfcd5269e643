"""Signed notes, their keys and what is handed to a witness: read, or refused as such."""

import base64
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.checkpoint import Checkpoint, NoteKey, Signer, note_text
from gateway.audit.cosignature import Cosigner, CosignerKey
from gateway.audit.proof import read_checkpoint, signed_by
from gateway.audit.witness import Refused, Submission, authenticate

SECRET = bytes(range(32))
SIGNER = Signer("log.example/notes", SECRET)
WITNESS = Cosigner("witness.example/w", SECRET)
LOGS = {SIGNER.key.name: [SIGNER.key]}
KINDS = (NoteKey, CosignerKey)

# As the setting has it (C2SP signed-note): visible ASCII, no plus sign, no comma left out.
names = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="+"),
    min_size=1,
    max_size=40,
)
hashes = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, 2**63 - 1)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
# An argument of a command can hold halves of characters.
arguments = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=40)
lines = st.lists(
    st.sampled_from(["", "\u2014 ", "7", SIGNER.key.name, WITNESS.key.name]) | anything,
    max_size=6,
).map("\n".join)
signatures = st.builds(
    "\u2014 {} {}\n".format,
    st.just(SIGNER.key.name) | names,
    st.binary(max_size=80).map(
        lambda raw: base64.b64encode(SIGNER.key.hash + raw).decode()
    ),
)


@given(names, sizes, hashes, st.binary(min_size=32, max_size=32))
def test_a_signed_head_is_read_back_and_verifies_under_its_key_alone(
    name: str, size: int, root: bytes, secret: bytes
) -> None:
    signer, head = Signer(name, secret), Checkpoint(name, size, root)
    note = signer.sign(head)
    assert read_checkpoint(note) == head
    assert signed_by(note, [signer.key])
    other = Signer(name, bytes(one ^ 1 for one in secret))
    assert not signed_by(note, [other.key])


@given(names, hashes)
def test_a_key_is_read_back_from_its_text_and_never_as_the_other_kind(
    name: str, public: bytes
) -> None:
    for kind, other in (KINDS, KINDS[::-1]):
        key = kind(name, public)
        assert kind.read(key.text) == key
        assert other.read(key.text) is None


@given(
    arguments
    | st.builds("{}+{}+{}".format, arguments, arguments, arguments)
    | st.builds(
        "{}+{:08x}+{}".format,
        arguments,
        st.integers(0, 2**32 - 1),
        hashes.map(lambda raw: base64.b64encode(b"\1" + raw).decode()),
    )
)
def test_any_text_is_a_key_that_says_the_same_again_or_none(text: str) -> None:
    for kind in KINDS:
        key = kind.read(text)
        assert key is None or key.text == text.strip()


@given(lines | st.builds("{}\n\n{}".format, lines, signatures))
def test_any_text_is_a_note_that_nobody_signed(note: str) -> None:
    head = read_checkpoint(note)
    assert head is None or note.startswith(f"{head.origin}\n{head.size}\n")
    assert not SIGNER.key.verifies(note)
    assert WITNESS.key.cosignature(note) is None
    assert not signed_by(note, [SIGNER.key])


@given(sizes, hashes, st.integers(0, 2**63 - 1), lines)
def test_a_cosignature_is_over_its_head_whatever_stands_beside_it(
    size: int, root: bytes, at: int, beside: str
) -> None:
    note = SIGNER.sign(Checkpoint(SIGNER.key.name, size, root))
    line = WITNESS.cosign(note_text(note), at)
    cosignature = WITNESS.key.cosignature(f"{note}{line}\n")
    assert cosignature == (line, at)
    # An empty line among what follows makes another text of it: no head of this log.
    with_more = f"{note}{beside}\n{line}\n"
    held = WITNESS.key.cosignature(with_more) is not None
    assert held == (note_text(with_more) == note_text(note))


@given(sizes, st.lists(hashes, max_size=63), sizes, hashes)
def test_a_submission_is_read_back(
    old: int, proof: list[bytes], size: int, root: bytes
) -> None:
    note = SIGNER.sign(Checkpoint(SIGNER.key.name, size, root))
    read = Submission.read(Submission(old, proof, note).body)
    assert (read.old, [*read.proof], read.note) == (old, proof, note)
    assert read.head() == (SIGNER.key.name, (size, root, note))


@given(st.binary(max_size=200) | lines.map(lambda s: s.encode(errors="replace")))
def test_any_bytes_handed_to_a_witness_are_refused_as_such(body: bytes) -> None:
    for begun in (body, b"old 0\n\n" + body, b"old 1\n" + body):
        with suppress(Refused):
            authenticate(Submission.read(begun), LOGS)
            raise AssertionError("cosigned")

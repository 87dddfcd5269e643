"""What a witness reads, what it refuses, and what its cosignatures say."""

import base64
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
)
from litestar.testing import AsyncTestClient
from structlog.testing import capture_logs

from gateway.audit import merkle
from gateway.audit.checkpoint import Checkpoint, NoteKey, Signer
from gateway.audit.cosignature import Cosigner
from gateway.audit.merkle import Frontier, Node
from gateway.audit.witness import (
    NOTHING,
    Head,
    Refusal,
    Refused,
    Submission,
    extends,
    judge,
)
from gateway.audit.witnessed import WitnessedHeads
from gateway.witnessing import MOST_BODY, Witness, create_app

ORIGIN = "log.example/residents"
SIGNER = Signer(ORIGIN, bytes(range(32)))
COSIGNER = Cosigner("witness.example/w1", bytes(range(1, 33)))
AT = 1_764_000_000


class Log:
    """A log in memory; those of one word share their history, others differ in all."""

    def __init__(self, size: int, word: str = "true") -> None:
        self._frontier = Frontier()
        self._nodes: dict[Node, bytes] = {}
        for n in range(size):
            leaf = sha256(f"{word} {n}".encode()).digest()
            self._nodes |= dict(self._frontier.add(leaf))

    @property
    def head(self) -> Head:
        size, root = self._frontier.size, self._frontier.root()
        return Head(size, root, SIGNER.sign(Checkpoint(ORIGIN, size, root)))

    def proof(self, old: int) -> list[bytes]:
        return merkle.consistency_proof(
            old, self._frontier.size, lambda *node: self._nodes[Node(*node)]
        )

    def submission(self, old: int) -> Submission:
        return Submission(old, self.proof(old), self.head.note)


def witness(path: Path, keys: Sequence[NoteKey] = (SIGNER.key,)) -> Witness:
    heads = WitnessedHeads(path / "heads.sqlite")
    return Witness({ORIGIN: keys}, [COSIGNER], heads, lambda: AT)


def refusal(asked: Witness, submission: Submission | bytes) -> Refused:
    body = submission if isinstance(submission, bytes) else submission.body
    with pytest.raises(Refused) as caught:
        asked.add_checkpoint(body)
    return caught.value


# Formats.


def test_a_submission_is_old_size_proof_empty_line_and_note() -> None:
    submission = Submission(5, [b"\x01" * 32, b"\x02" * 32], Log(7).head.note)
    one, two = ("AQEB" * 10 + "AQE=", "AgIC" * 10 + "AgI=")
    expected = f"old 5\n{one}\n{two}\n\n{submission.note}"
    assert submission.body.decode() == expected
    assert Submission.read(submission.body) == submission
    assert submission.head() == (ORIGIN, Log(7).head)


def test_extension_lines_are_cosigned_with_the_rest(tmp_path: Path) -> None:
    head = Log(3).head
    text = Checkpoint(ORIGIN, head.size, head.root).text + "an extension\n"
    signature = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).sign(
        text.encode()
    )
    encoded = base64.b64encode(SIGNER.key.hash + signature).decode()
    note = f"{text}\n\u2014 {ORIGIN} {encoded}\n"
    lines = witness(tmp_path).add_checkpoint(Submission(0, [], note).body)
    assert COSIGNER.key.verifies(note + lines)
    assert not COSIGNER.key.verifies(head.note + lines)


# The proof.


@pytest.mark.parametrize("new", range(1, 34))
def test_a_proof_shows_its_own_extension_and_no_other(new: int) -> None:
    log, forged = Log(new), Log(new, "forged")
    for old in range(1, new):
        before, proof = Log(old).head, log.proof(old)
        assert extends(before, log.head, proof)
        assert not extends(Log(old, "forged").head, log.head, proof)
        assert not extends(before, forged.head, forged.proof(old))
        assert not extends(before, log.head, proof[:-1])
        assert not extends(before, log.head, proof[1:])
        assert not extends(before, log.head, [*proof, proof[-1]])
        assert not extends(before, log.head, [])
        assert not extends(log.head, before, proof)
        for n in range(len(proof)):
            changed = [*proof[:n], bytes(32), *proof[n + 1 :]]
            assert not extends(before, log.head, changed)


def test_a_proof_is_of_the_size_that_the_head_claims() -> None:
    three, seven = Log(3).head, Log(7).head
    assert extends(Log(2).head, three, Log(3).proof(2))
    assert not extends(Log(2).head, three._replace(size=7), Log(3).proof(2))
    assert not extends(Log(2).head, seven._replace(size=3), Log(7).proof(2))


def test_of_nothing_and_of_the_same_head_the_proof_is_empty() -> None:
    head = Log(6).head
    assert extends(NOTHING, head, [])
    assert extends(head, head, [])
    assert not extends(NOTHING, head, [bytes(32)])
    assert not extends(head, head, [bytes(32)])
    assert not extends(head, Log(6, "forged").head, [])


# Refusals.


def changed_note(head: Head, line: int, text: str) -> bytes:
    lines = head.note.split("\n")
    lines[line] = text
    return Submission(0, [], "\n".join(lines)).body


HEAD = Log(5).head
HASH = "A" * 43 + "="


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(HEAD.note.encode(), id="a note alone"),
        pytest.param(f"old 0\n{HEAD.note}".encode(), id="no empty line"),
        pytest.param(f"0\n\n{HEAD.note}".encode(), id="no word"),
        pytest.param(f"old  0\n\n{HEAD.note}".encode(), id="two spaces"),
        pytest.param(f"old 00\n\n{HEAD.note}".encode(), id="leading zero"),
        pytest.param(f"old -1\n\n{HEAD.note}".encode(), id="below zero"),
        pytest.param(f"old \u0663\n\n{HEAD.note}".encode(), id="another digit"),
        pytest.param(f"old {2**63}\n\n{HEAD.note}".encode(), id="too large"),
        pytest.param(f"old 0\nAAAA\n\n{HEAD.note}".encode(), id="a short hash"),
        pytest.param(f"old 0\n{HASH}*\n\n{HEAD.note}".encode(), id="not base64"),
        pytest.param(
            "\n".join(["old 0", *[HASH] * 64, "", HEAD.note]).encode(), id="64 hashes"
        ),
        pytest.param(changed_note(HEAD, 0, ""), id="no origin"),
        pytest.param(changed_note(HEAD, 1, "05"), id="size with a leading zero"),
        pytest.param(changed_note(HEAD, 1, "5.0"), id="size not a number"),
        pytest.param(changed_note(HEAD, 2, "AAAA"), id="root too short"),
        pytest.param(changed_note(HEAD, 2, "\r"), id="control character"),
        pytest.param(f"old 0\n\n{ORIGIN}\n5\n\n\u2014 x y\n".encode(), id="no root"),
        pytest.param(f"old 0\n\n{HEAD.note[:-1]}".encode(), id="no last line feed"),
        pytest.param(f"old 0\n\n{ORIGIN}\n5\n{HASH}\n".encode(), id="no signature"),
    ],
)
def test_what_is_not_a_submission_is_malformed(tmp_path: Path, body: bytes) -> None:
    assert refusal(witness(tmp_path), body).refusal is Refusal.MALFORMED


def test_a_log_that_is_not_known_is_refused(tmp_path: Path) -> None:
    other = Signer("other.example", bytes(range(32)))
    note = other.sign(Checkpoint("other.example", 1, bytes(32)))
    refused = refusal(witness(tmp_path), Submission(0, [], note))
    assert refused.refusal is Refusal.UNKNOWN_ORIGIN


def test_a_note_that_no_key_of_its_log_signed_is_refused(tmp_path: Path) -> None:
    head = Log(5).head
    forger = Signer(ORIGIN, bytes(32))
    note = forger.sign(Checkpoint(ORIGIN, head.size, head.root))
    refused = refusal(witness(tmp_path), Submission(0, [], note))
    assert refused.refusal is Refusal.BAD_SIGNATURE
    # Its key of before and its key of today are both the log's.
    both = witness(tmp_path, [forger.key, SIGNER.key])
    assert both.add_checkpoint(Submission(0, [], note).body)


def test_an_old_size_beyond_the_new_is_refused(tmp_path: Path) -> None:
    submission = Submission(6, [], Log(5).head.note)
    refused = refusal(witness(tmp_path), submission)
    assert refused.refusal is Refusal.OLD_BEYOND_NEW


def test_another_old_size_than_the_known_is_told_the_known(tmp_path: Path) -> None:
    asked = witness(tmp_path)
    refused = refusal(asked, Log(9).submission(3))
    assert (refused.refusal, refused.known) == (Refusal.OTHER_OLD_SIZE, 0)
    asked.add_checkpoint(Log(5).submission(0).body)
    refused = refusal(asked, Log(9).submission(0))
    assert (refused.refusal, refused.known) == (Refusal.OTHER_OLD_SIZE, 5)
    # A log that was cut short hears of the longer one that is known.
    refused = refusal(asked, Log(4).submission(0))
    assert (refused.refusal, refused.known) == (Refusal.OTHER_OLD_SIZE, 5)


def test_the_same_size_with_another_root_is_refused_and_kept_as_evidence(
    tmp_path: Path,
) -> None:
    asked = witness(tmp_path)
    asked.add_checkpoint(Log(5).submission(0).body)
    forged = Log(5, "forged")
    with capture_logs() as said:
        refused = refusal(asked, Submission(5, [], forged.head.note))
    assert (refused.refusal, refused.known) == (Refusal.OTHER_ROOT, None)
    assert {
        "event": "two_histories",
        "log_level": "critical",
        "origin": ORIGIN,
        "known": Log(5).head.note,
        "submitted": forged.head.note,
    } in said


def test_a_head_that_does_not_extend_the_known_is_refused(tmp_path: Path) -> None:
    asked = witness(tmp_path)
    asked.add_checkpoint(Log(5).submission(0).body)
    refused = refusal(asked, Log(9, "forged").submission(5))
    assert (refused.refusal, refused.known) == (Refusal.BAD_PROOF, None)
    # Nothing was recorded: the true log goes on.
    assert asked.add_checkpoint(Log(9).submission(5).body)


def test_of_an_empty_log_only_the_empty_root_is_cosigned(tmp_path: Path) -> None:
    asked = witness(tmp_path)
    note = SIGNER.sign(Checkpoint(ORIGIN, 0, bytes(32)))
    assert refusal(asked, Submission(0, [], note)).refusal is Refusal.OTHER_ROOT
    assert asked.add_checkpoint(Log(0).submission(0).body)


# What is cosigned.


def test_a_log_that_grows_is_cosigned_at_every_head(tmp_path: Path) -> None:
    asked, known = witness(tmp_path), 0
    for size in (1, 2, 3, 8, 8, 21, 64, 100):
        log = Log(size)
        lines = asked.add_checkpoint(log.submission(known).body)
        found = COSIGNER.key.cosignature(log.head.note + lines)
        assert found is not None
        assert found.at == AT
        known = size


def test_a_witness_that_starts_again_still_knows_what_it_cosigned(
    tmp_path: Path,
) -> None:
    witness(tmp_path).add_checkpoint(Log(5).submission(0).body)
    again = witness(tmp_path)
    assert refusal(again, Log(9, "forged").submission(0)).known == 5
    assert again.add_checkpoint(Log(9).submission(5).body)


def test_a_head_that_cannot_be_recorded_is_not_cosigned(tmp_path: Path) -> None:
    asked = witness(tmp_path)
    with sqlite3.connect(tmp_path / "heads.sqlite") as full:
        full.execute(
            "CREATE TRIGGER full BEFORE INSERT ON heads"
            " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    full.close()
    with pytest.raises(sqlite3.Error):
        asked.add_checkpoint(Log(5).submission(0).body)


def test_of_two_histories_handed_in_at_once_one_is_recorded(tmp_path: Path) -> None:
    heads = WitnessedHeads(tmp_path / "heads.sqlite")

    def hand_in(log: Log) -> Refusal | None:
        submission = log.submission(0)

        def look(known: Head) -> None:
            time.sleep(0.01)
            judge(submission, log.head, known)

        try:
            heads.advance(ORIGIN, log.head, look)
        except Refused as refused:
            return refused.refusal
        return None

    histories = [Log(n, f"history {n}") for n in range(1, 13)]
    with ThreadPoolExecutor(4) as threads:
        outcomes = Counter(threads.map(hand_in, histories))
    assert outcomes == {None: 1, Refusal.OTHER_OLD_SIZE: 11}


def test_the_first_sight_of_a_log_is_told_once(tmp_path: Path) -> None:
    asked = witness(tmp_path)
    first = {
        "event": "log_first_seen",
        "log_level": "warning",
        "origin": ORIGIN,
        "size": 5,
    }
    with capture_logs() as said:
        asked.add_checkpoint(Log(5).submission(0).body)
    assert first in said
    with capture_logs() as said:
        asked.add_checkpoint(Log(6).submission(5).body)
    assert "log_first_seen" not in {line["event"] for line in said}


def test_the_known_head_itself_is_cosigned_again() -> None:
    head = Log(5).head
    judge(Submission(5, [], head.note), head, head)


async def test_a_body_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    async with AsyncTestClient(create_app(witness(tmp_path))) as client:
        answer = await client.post("/add-checkpoint", content=bytes(MOST_BODY + 1))
    assert answer.status_code == 413


async def test_a_disk_that_fails_is_an_answer_without_a_cosignature(
    tmp_path: Path,
) -> None:
    app = create_app(witness(tmp_path))
    (tmp_path / "heads.sqlite").write_bytes(b"x" * 4096)
    async with AsyncTestClient(app) as client:
        body = Log(5).submission(0).body
        with capture_logs() as said:
            answer = await client.post("/add-checkpoint", content=body)
    assert (answer.status_code, answer.text) == (500, "internal error\n")
    assert {
        "event": "witness_failed",
        "log_level": "critical",
        "error": "DatabaseError",
        "words": "file is not a database",
    } in said

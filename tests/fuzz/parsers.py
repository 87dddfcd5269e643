"""Everything that reads untrusted text, each as a function of bytes that must not fail.

A parser gives what it says it gives, or refuses as it says it does; anything else is a
find. `python -m tests.fuzz.search` looks for one; test_parsers.py holds what was found.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from unicodedata import category

from gateway.audit.checkpoint import Checkpoint, NoteKey, Signer, note_text
from gateway.audit.cosignature import Cosigner, CosignerKey
from gateway.audit.entry import access_id, place_of
from gateway.audit.inspection import Cursors
from gateway.audit.proof import CannotTell, read_checkpoint, read_proof
from gateway.audit.verification import verify
from gateway.audit.witness import Refused, Submission, authenticate
from gateway.batching import Item
from gateway.calls import Question
from gateway.edge import certificates, questions, rendering, strict
from gateway.edge.jobs import _Reading
from gateway.edge.proxies import TrustedProxies
from gateway.partners import keys, terms
from gateway.problems import Fault, InvalidRequest
from gateway.registry.resident import is_nik
from gateway.settings import NumberedKeys
from gateway.vocabulary import RESIDENT_FIELDS
from tests.written_logs import KEY, WrittenLog

Parser = Callable[[bytes], None]

SECRET: Final = bytes(range(32))
CURSORS: Final = Cursors(NumberedKeys({1: SECRET}))
SIGNER: Final = Signer("log.example/fuzz", SECRET)
COSIGNER: Final = Cosigner("witness.example/fuzz", SECRET)
LOGS: Final = {SIGNER.key.name: [SIGNER.key]}
HEAD: Final = Checkpoint(SIGNER.key.name, 7, SECRET)
GENUINE: Final = SIGNER.sign(HEAD)
PROXIES: Final = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
# RFC 6901 §3; `?` begins the name of a parameter, and /headers/ that of a header.
POINTER: Final = re.compile(r"(\?[\w.-]*|(/([^/~]|~[01])*)*)", re.ASCII)
EXPORT: Final = WrittenLog(6)
_LOOP: Final = asyncio.new_event_loop()
_FOLDER: Final = tempfile.TemporaryDirectory(prefix="gateway-fuzz-")


def _refusable(faults: Sequence[Fault]) -> None:
    """What is told of faults can be sent, and names no person and no key."""
    content = rendering.problem(InvalidRequest(list(faults))).content
    told = json.loads(content)["errors"]
    assert len(told) == len(faults)
    for one in told:
        assert POINTER.fullmatch(one["pointer"])
        assert not re.search(r"\d{16}", one["pointer"])
        assert keys.parse(one["pointer"].rpartition("/")[2]) is None


def _loggable(text: str | None) -> None:
    """Free text that was taken stands in a line of the log."""
    if text is not None:
        shown = "".join(filter(str.isprintable, text))
        assert {category(one) for one in set(text) - set(shown)} <= {"Zs"}
        assert not re.search(r"\d{16}", shown)
        text.encode()


def key(data: bytes) -> None:
    text = data.decode("latin-1")
    read = keys.parse(text)
    if read is not None:
        assert read.text == text
        assert text[:-6] + keys.checksum(text[:-6]) == text


def cursor(data: bytes) -> None:
    assert CURSORS.open(data.decode("utf-8", "replace"), "question") is None


def named_access(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    place = place_of(text)
    assert place is None or access_id(place) == text


def _question(question: Question) -> None:
    _refusable(question.faults)
    assert question.nik is None or is_nik(question.nik)
    assert set(question.fields) <= set(RESIDENT_FIELDS)
    _loggable(question.reference)
    _loggable(question.operator)
    for claim in question.claims.values():
        others = [one for one in claim if not (one.isprintable() or one.isspace())]
        assert {category(one) for one in others} <= {"Cf"}
    if not question.faults:
        assert question.nik
        assert question.purpose
        assert question.fields


def verify_body(data: bytes) -> None:
    _question(questions.read_verify(data))


def fetch_body(data: bytes) -> None:
    _question(questions.read_fetch(data))


def batch_body(data: bytes) -> None:
    batch = asyncio.run(questions.read_batch(data))
    _refusable(batch.faults)
    assert batch.count >= 1
    _loggable(batch.operator)
    if not batch.faults:
        assert len(batch.items) == batch.count
        assert len({item.id for item in batch.items}) == batch.count
        _whole(batch.items)


def _whole(items: Sequence[Item]) -> None:
    for item in items:
        assert is_nik(item.nik)
        assert item.fields
        _loggable(item.id)


def job_lines(data: bytes) -> None:
    """The first byte says what is asked, and in which pieces the lines come in."""
    operation = "fetch" if data[:1] > b"\x7f" else "verify"
    at_once, faults = _job(operation, [data[1:]])
    size = (data[0] & 0x7F) + 1 if data else 1
    pieces = [data[1:][at : at + size] for at in range(0, len(data), size)]
    assert _job(operation, pieces) == (at_once, faults)
    _refusable(faults)
    if not faults:
        *lines, last = data[1:].split(b"\n")
        assert len(at_once) == len(lines) + bool(last)
        _whole(at_once)


def _job(operation: str, pieces: list[bytes]) -> tuple[list[Item], list[Fault]]:
    faults: list[Fault] = []

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def read() -> list[Item]:
        slices = _Reading(operation, faults).slices(body())
        return [item async for some in slices for item in some]

    try:
        return _LOOP.run_until_complete(read()), faults
    except InvalidRequest as refusal:
        return [], list(refusal.faults)


def admin_body(data: bytes) -> None:
    with suppress(InvalidRequest):
        members = strict.parse_object(data)
        faults: list[Fault] = []
        purposes = {"kyc": 1, "treatment": 2}
        terms.read_name(members.get("name"), faults)
        terms.read_role(members.get("role"), faults)
        terms.read_status(members.get("status"), faults)
        strict.read_id(members.get("institution"), faults, "/institution")
        strict.read_instant(members.get("from"), faults, "/from")
        terms.read_grants(members.get("grants"), purposes, faults)
        given: list[Fault] = []
        limits = terms.read_limits(members.get("limits"), given, current=terms.MOST)
        if not given:
            assert all(
                1 <= one <= most for one, most in zip(limits, terms.MOST, strict=True)
            )
        for network in terms.read_networks(members.get("cidrs"), faults):
            assert ip_network(str(network)) == network
            assert "%" not in str(network)
        _refusable([*faults, *given])


def instant(data: bytes) -> None:
    faults: list[Fault] = []
    text = data.decode("utf-8", "replace")
    read = strict.read_instant(text, faults, "?from")
    assert (read is None) == bool(faults)


def query(data: bytes) -> None:
    faults: list[Fault] = []
    text = data.decode("utf-8", "replace")
    pairs = [part.partition("=")[::2] for part in text.split("&")]
    for value in strict.query_members(pairs, ("limit", "reason"), faults).values():
        number = strict.read_number(value, [], "?limit", least=1, most=1000)
        assert number is None or 1 <= number <= 1000
        _loggable(strict.read_text(value, faults, "?reason"))
    _refusable(faults)


def idempotency_key(data: bytes) -> None:
    faults: list[Fault] = []
    read = strict.read_idempotency_key([data.decode("latin-1")], faults)
    assert (read is None) == bool(faults)
    if read is not None:
        assert re.fullmatch(r"[!-~]{1,64}", read)
        quoted = json.dumps(read)
        assert strict.read_idempotency_key([quoted], faults) == read


def certificate(data: bytes) -> None:
    """What a proxy of ours says the connection's certificate is."""
    told = certificates.presented([data])
    assert told is None or len(told) == 32
    assert certificates.presented([data, data]) is None


def forwarded(data: bytes) -> None:
    """Whom a proxy of ours says it asks for: an address, whatever stands there."""
    seen: list[Any] = []

    async def app(scope: Any, *_: Any) -> None:
        seen.append(scope["client"])

    headers = [(b"x-forwarded-for", one) for one in data.split(b"\n")]
    scope: Any = {"type": "http", "client": ("10.0.0.9", 1), "headers": headers}
    told = TrustedProxies(app, PROXIES)
    _LOOP.run_until_complete(told(scope, None, None))  # type: ignore[arg-type]  # neither is asked
    ((address, _),) = seen
    assert str(ip_address(address)) == address
    assert "%" not in address


def note(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    head = read_checkpoint(text)
    assert head is None or text.startswith(f"{head.origin}\n{head.size}\n")
    for one in (text, GENUINE + text):
        # Nobody can sign here, so what is signed is what was.
        if SIGNER.key.verifies(one) or COSIGNER.key.verifies(one):
            assert note_text(one) == note_text(GENUINE)
            assert read_checkpoint(one) == HEAD


def note_key(data: bytes) -> None:
    # An argument of a command: what is not UTF-8 comes as halves of characters.
    text = data.decode("utf-8", "surrogateescape")
    for kind in (NoteKey, CosignerKey):
        read = kind.read(text)
        assert read is None or read.text == text.strip()


def submission(data: bytes) -> None:
    with suppress(Refused):
        read = Submission.read(data)
        assert Submission.read(read.body) == read
        _, head = authenticate(read, LOGS)
        assert head.note == read.note
        assert SIGNER.key.verifies(head.note)


def proof(data: bytes) -> None:
    """FILE.proof.json of an export whose lines are true."""
    file = EXPORT.export(Path(_FOLDER.name) / "export.ndjson", 1, 5)
    beside = file.with_name(f"{file.name}.proof.json")
    true = read_proof(beside)
    beside.write_bytes(data)
    with suppress(CannotTell):
        read = read_proof(beside)
        if verify([file], [KEY]).true:
            assert read.checkpoint == true.checkpoint
            assert replace(read, note=true.note) == true


def export(data: bytes) -> None:
    """An export's lines, under a true proof."""
    file = EXPORT.export(Path(_FOLDER.name) / "export.ndjson", 1, 5)
    true = file.read_bytes()
    file.write_bytes(data)
    verdict = verify([file], [KEY])
    assert verdict.true == (data == true)
    for flaw in verdict.flaws:
        assert flaw.line is None or flaw.line >= 1


PARSERS: Final[dict[str, Parser]] = {
    one.__name__: one
    for one in (
        *(key, cursor, named_access, verify_body, fetch_body, batch_body, job_lines),
        *(admin_body, instant, query, idempotency_key),
        *(certificate, forwarded),
        *(note, note_key, submission, proof, export),
    )
}

if __name__ == "__main__":
    print(*PARSERS)  # noqa: T201 - for `make fuzz`

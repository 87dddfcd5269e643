"""The files that name witnesses to a log, and logs to a witness."""

from pathlib import Path

import pytest

from gateway.audit.checkpoint import NoteKey, Signer
from gateway.audit.cosignature import Cosigner
from gateway.audit.courier import read_witnesses
from gateway.settings import BadSetting
from gateway.witnessing import read_logs

ORIGIN = "log.example/residents"
SIGNER = Signer(ORIGIN, bytes(range(32)))
COSIGNER = Cosigner("witness.example/w1", bytes(range(1, 33)))
# Keys as their owners publish them: of a witness, and of a note.
PUBLISHED_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
NOTE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_witnesses_are_read_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "witnesses"
    file.write_text(
        f"https://one.example/ {PUBLISHED_KEY}\n\nhttp://two.example {COSIGNER.key.text}\n"
    )
    one, two = read_witnesses(file)
    assert (one.url, one.name) == ("https://one.example", "remora.n621.de")
    assert (two.url, two.key) == ("http://two.example", COSIGNER.key)
    assert read_witnesses(None) == []


@pytest.mark.parametrize(
    "text",
    [
        f"https://one.example {NOTE_KEY}",
        f"file:///one {PUBLISHED_KEY}",
        PUBLISHED_KEY,
        "https://one.example",
        f"https://one.example {PUBLISHED_KEY}\nhttps://two.example {PUBLISHED_KEY}",
    ],
)
def test_a_file_of_witnesses_that_is_bad_is_a_bad_setting(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "witnesses"
    file.write_text(text)
    with pytest.raises(BadSetting, match=r"^GATEWAY_WITNESSES_FILE .*\.$"):
        read_witnesses(file)


def test_logs_are_read_with_all_the_keys_of_each(tmp_path: Path) -> None:
    older = Signer(ORIGIN, bytes(32)).key
    file = tmp_path / "logs"
    file.write_text(f"{SIGNER.key.text}\n{older.text}\n{NOTE_KEY}\n")
    assert read_logs(file) == {
        ORIGIN: [SIGNER.key, older],
        "PeterNeumann": [NoteKey.read(NOTE_KEY)],
    }


@pytest.mark.parametrize("text", ["", "\n", PUBLISHED_KEY, f"{NOTE_KEY}x"])
def test_a_file_of_logs_that_is_bad_is_a_bad_setting(tmp_path: Path, text: str) -> None:
    file = tmp_path / "logs"
    file.write_text(text)
    with pytest.raises(BadSetting, match=r"^GATEWAY_WITNESS_LOGS_FILE .*\.$"):
        read_logs(file)

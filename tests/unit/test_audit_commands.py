"""`gateway audit`: exit codes, sentences for people, JSON for programs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.audit_commands import app
from tests.written_logs import KEY, WrittenLog

LOG = WrittenLog(300)
SPAN = ["--from", "2026-11-24T00:00:00Z", "--to", "2026-11-25T00:00:00Z"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return LOG.export(tmp_path / "log.ndjson", 13, 250)


def run(*given: object, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(one) for one in given], env=environment)


def test_a_true_export_ends_with_0(file: Path) -> None:
    told = run("verify", file, "--key", KEY.text)
    assert told.exit_code == 0
    assert told.stdout == f"TRUE {file}: 237 entries, leaves 13 to 249 of 300\n"


def test_a_false_export_ends_with_1_and_names_the_line(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"at":"20"', b'"at":"21"'))
    told = run("verify", file, "--key", KEY.text)
    assert told.exit_code == 1
    assert told.stdout.startswith(f"FALSE {file}: line 8 (leaf 20, access_id 019ab1c2-")
    assert told.stdout.endswith("): changed\n")


def test_json_is_all_that_is_written_for_programs(file: Path) -> None:
    told = run("verify", file, "--key", KEY.text, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    assert json.loads(told.stdout) == {
        "verdict": "true",
        "exports": [
            {"file": str(file), "start": 13, "end": 250, "tree_size": 300, "lines": 237}
        ],
        "flaws": [],
    }
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:100]))
    told = run("verify", file, "--key", KEY.text, "--json")
    assert (told.exit_code, told.stderr) == (1, "")
    document = json.loads(told.stdout)
    (flaw,) = document["flaws"]
    assert document["verdict"] == "false"
    assert (flaw["kind"], flaw["line"], flaw["leaf_index"]) == ("cut off", 101, 113)


def test_a_key_may_be_a_file(file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(f"{KEY.text}\n")
    assert run("verify", file, "--key", key).exit_code == 0


def test_what_cannot_be_told_ends_with_2(file: Path, tmp_path: Path) -> None:
    assert run("verify", file, "--key", tmp_path / "none").exit_code == 2
    missing = run("verify", tmp_path / "none", "--key", KEY.text, "--json")
    assert missing.exit_code == 2
    assert json.loads(missing.stdout)["verdict"] == "unknown"


def test_an_export_without_its_setting_ends_with_78(tmp_path: Path) -> None:
    told = run("export", tmp_path / "log", *SPAN, GATEWAY_AUDITOR_DSN="")
    assert told.exit_code == 78
    assert "GATEWAY_AUDITOR_DSN" in told.stderr


def test_an_export_from_no_database_ends_with_69_and_shows_no_password(
    tmp_path: Path,
) -> None:
    dsn = "postgresql://auditor:hidden@127.0.0.1:1/gateway"
    told = run("export", tmp_path / "log", *SPAN, GATEWAY_AUDITOR_DSN=dsn)
    assert told.exit_code == 69
    assert "hidden" not in told.output
    assert not list(tmp_path.iterdir())


def test_a_bad_instant_ends_with_2(tmp_path: Path) -> None:
    told = run("export", tmp_path / "log", "--from", "yesterday", "--to", "today")
    assert told.exit_code == 2
    assert told.stderr.count("want a time") == 2

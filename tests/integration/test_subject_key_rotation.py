"""A new subject key writes; what was written under every key is found."""

import json
import os
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gateway.audit.inspection import Criteria, Inspection
from gateway.audit.rotation import rotate, rotate_subject_key
from gateway.audit.subject import SubjectKeys
from gateway.clock import from_datetime
from gateway.postgres import Connection, Pool, pool
from gateway.settings import BadSetting, NumberedKeys
from tests.conftest import Database
from tests.integration import logs

NIK = "3171014501909001"
OTHER = "3171014501909002"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "subject-keys"
    path.touch(mode=0o600)
    path.write_text(f"1:{'ab' * 32}\n", "ascii")
    return path


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[Pool]:
    async with pool(
        database.dsn("auditor"), name="auditor", size=2, statement_seconds=30
    ) as held:
        yield held


def read(path: Path) -> NumberedKeys:
    return NumberedKeys.read(path, setting="the keys")


async def test_a_search_finds_what_was_written_under_every_key(
    keys_file: Path, hot: Connection, superuser: Connection, auditor: Pool
) -> None:
    await logs.make_key(superuser)
    now = from_datetime(await hot.fetchval("SELECT clock_timestamp()"))
    ids = []
    for number in (1, 2, 3):
        subjects = SubjectKeys(read(keys_file))
        assert subjects.reference(NIK).key == number
        entries = [
            replace(logs.answer(now, 1), subject=subjects.reference(nik))
            for nik in (NIK, OTHER)
        ]
        ids.append((await logs.write(hot, entries))[0])
        assert rotate(keys_file) == number + 1
    subjects = SubjectKeys(read(keys_file))
    criteria = Criteria(subjects=subjects.references(NIK))
    page = await Inspection(auditor).page(criteria, None, 10)
    found = b"".join(line for line, _ in page.entries)
    assert len(page.entries) == len(ids)
    assert all(access_id.encode() in found for access_id in ids)


def test_a_rotation_keeps_every_key_and_adds_one_that_is_new(keys_file: Path) -> None:
    before = read(keys_file)
    assert rotate(keys_file) == 2
    after = read(keys_file)
    assert after.by_number[1] == before.by_number[1]
    assert len(after.by_number[2]) == 32
    assert after.by_number[2] != after.by_number[1]
    assert after.newest == 2


def test_the_file_stays_private_and_its_owners(keys_file: Path) -> None:
    if os.geteuid() == 0:
        os.chown(keys_file, 65534, 65534)
    before = keys_file.stat()
    rotate(keys_file)
    after = keys_file.stat()
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert list(keys_file.parent.iterdir()) == [keys_file]


def test_a_link_to_the_file_stays_one(keys_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(keys_file)
    assert rotate(link) == 2
    assert link.is_symlink()
    assert read(keys_file).newest == 2


def test_rotations_at_once_lose_no_key(keys_file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda _: rotate(keys_file), range(24)))
    assert sorted(numbers) == list(range(2, 26))
    assert sorted(read(keys_file).by_number) == list(range(1, 26))


def test_a_rotation_that_fails_leaves_the_file_as_it_was(
    keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys_file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadSetting, match="No space left on device") as refusal:
        rotate(keys_file)
    assert str(keys_file) not in str(refusal.value)
    assert keys_file.read_bytes() == before
    assert list(keys_file.parent.iterdir()) == [keys_file]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", 0o600),
        ("1:ab\n", 0o600),
        (f"1:{'ab' * 32}\n", 0o640),
        (f"32767:{'ab' * 32}\n", 0o600),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_left_alone(
    keys_file: Path, text: str, mode: int
) -> None:
    keys_file.write_text(text, "ascii")
    keys_file.chmod(mode)
    with pytest.raises(BadSetting):
        rotate(keys_file)
    assert keys_file.read_text("ascii") == text


def test_a_missing_file_is_a_sentence_not_a_new_file(tmp_path: Path) -> None:
    with pytest.raises(BadSetting):
        rotate(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_the_command_answers_the_number_alone_or_a_sentence_and_78(
    keys_file: Path,
) -> None:
    app = typer.Typer()
    app.command()(rotate_subject_key)
    setting = "GATEWAY_SUBJECT_KEYS_FILE"
    done = CliRunner().invoke(app, env={setting: str(keys_file)})
    assert (done.exit_code, done.stdout) == (0, "2\n")
    done = CliRunner().invoke(app, ["--json"], env={setting: str(keys_file)})
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"subject_key": 3})
    for value in (None, str(keys_file.parent / "none")):
        refused = CliRunner().invoke(app, env={setting: value})
        assert (refused.exit_code, refused.stdout) == (78, "")
        assert setting in refused.stderr
        assert value is None or value not in refused.stderr

"""The command line as a person meets it: a process, its output and its exit code."""

import asyncio
import os
import pwd
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import from_datetime
from gateway.partners.directory import Directory, Key
from gateway.postgres import Connection
from gateway.problems import Unauthenticated
from gateway.settings import NumberedKeys
from tests.conftest import Database
from tests.integration.commanding import WHY, CommandLine, command_line
from tests.integration.directories import opened

TERMS = (
    *("--from", "2026-01-01", "--to", "2027-01-01T00:00:00Z"),
    *("--rate", "50", "--burst", "100", "--day", "1000", "--month", "20000"),
    *("--grant", "kyc:verify,batch:name,birth_date"),
    *("--grant", "treatment:fetch:blood_type:0.8"),
)


@pytest.fixture
async def gateway(database: Database, tmp_path: Path) -> CommandLine:
    return command_line(database, tmp_path)


@pytest.fixture
async def directory(gateway: CommandLine) -> AsyncIterator[Directory]:
    peppers = NumberedKeys.read(gateway.pepper, setting="the test's")
    async with opened(gateway.database, peppers=peppers) as loaded:
        yield loaded


async def identify(directory: Directory, superuser: Connection, text: str) -> Key:
    now = from_datetime(await superuser.fetchval("SELECT clock_timestamp()"))
    await directory.refresh()
    return directory.identify(text, now)


async def test_workers_know_the_key_of_an_institution_made_on_the_command_line(
    gateway: CommandLine, directory: Directory, superuser: Connection
) -> None:
    bank = (await gateway.made("institution", "create", "Bank Contoh"))["id"]
    await gateway.made("agreement", "create", str(bank), *TERMS)
    created = await gateway.run(
        *("key", "create", str(bank), "--cidr", "203.0.113.0/24", *WHY)
    )
    text = created.out.removesuffix("\n")
    key = await identify(directory, superuser, text)
    assert (key.institution, text[:9]) == (bank, "gdk_live_")
    assert [str(network) for network in key.networks] == ["203.0.113.0/24"]
    assert text not in created.err

    assert (await gateway.run("key", "revoke", key.id, *WHY)).code == 0
    with pytest.raises(Unauthenticated):
        await identify(directory, superuser, text)


async def test_the_first_admin_is_made_on_an_empty_database(
    gateway: CommandLine, directory: Directory, superuser: Connection
) -> None:
    created = await gateway.run("staff", "create", "Siti", "--role", "admin", *WHY)
    key = await identify(directory, superuser, created.out.strip())
    assert key.staff is not None
    assert (key.staff.role.word, key.staff.name) == ("admin", "Siti")
    await gateway.run("staff", "revoke", str(key.staff.id), *WHY)
    with pytest.raises(Unauthenticated):
        await identify(directory, superuser, created.out.strip())


async def test_each_change_is_one_entry_that_says_why_and_who(
    gateway: CommandLine, superuser: Connection
) -> None:
    bank = str((await gateway.made("institution", "create", "Bank Contoh"))["id"])
    pact = str((await gateway.made("agreement", "create", bank, *TERMS))["id"])
    key = (await gateway.made("key", "create", bank))["id"]
    staff = ("staff", "create", "Siti", "--role", "auditor", "--test")
    member = str((await gateway.made(*staff))["id"])
    for words in (
        ("agreement", "change", pact, "--status", "suspended"),
        ("key", "revoke", key),
        ("staff", "revoke", member),
    ):
        assert (await gateway.run(*words, "--reason", f"no. {words[2]}")).code == 0
    entries = await gateway.entries()
    assert [(entry["operation"], entry["reference"]) for entry in entries] == [
        ("institution.create", WHY[1]),
        ("agreement.create", WHY[1]),
        ("key.create", WHY[1]),
        ("staff.create", WHY[1]),
        ("agreement.change", f"no. {pact}"),
        ("key.revoke", f"no. {key}"),
        ("staff.revoke", f"no. {member}"),
    ]
    operator = pwd.getpwuid(os.getuid()).pw_name
    for entry in entries:
        assert (entry["actor"], entry["outcome"]) == ("admin", "done")
        assert (entry["key"], entry["address"]) == (None, None)
        assert entry["operator"] == operator
    # And beside the log stands what each was about.
    changed = await superuser.fetch("SELECT id FROM changes ORDER BY batch")
    made = [bank, pact, key, member]
    assert [row["id"] for row in changed] == [*made, pact, key, member]


async def test_an_answer_names_the_entry_of_its_change(gateway: CommandLine) -> None:
    made = await gateway.made("institution", "create", "Bank Contoh")
    assert [entry["access_id"] for entry in await gateway.entries()] == [
        made["access_id"]
    ]


async def test_every_change_answers_a_program_with_what_it_changed_and_its_entry(
    gateway: CommandLine,
) -> None:
    bank = (await gateway.made("institution", "create", "Bank Contoh"))["id"]
    pact = (await gateway.made("agreement", "create", str(bank), *TERMS))["id"]
    key = (await gateway.made("key", "create", str(bank)))["id"]
    member = (await gateway.made("staff", "create", "Siti", "--role", "ops"))["id"]
    binding = ("--label", "core banking", "--not-after", "2030-01-01")
    bound = await gateway.made("institution", "bind", str(bank), "ab" * 32, *binding)
    for words, changed in (
        (("agreement", "change", pact, "--status", "suspended"), {"id": pact}),
        (("key", "revoke", key), {"id": key}),
        (("staff", "revoke", member), {"id": member}),
        (("institution", "release", bank), {"id": bank}),
        (
            ("institution", "unbind", bound["id"]),
            {"id": bound["id"], "institution": bank, "left": 0},
        ),
    ):
        told = await gateway.made(*map(str, words))
        (*_, entry) = await gateway.entries()
        assert told == {**changed, "access_id": entry["access_id"]}
        # For people there is the sentence alone.
        assert (await gateway.run(*map(str, words), *WHY)).out == ""


async def test_a_change_whose_entry_cannot_be_written_does_not_happen(
    gateway: CommandLine, superuser: Connection
) -> None:
    await superuser.execute("REVOKE INSERT ON entries FROM gateway_admin")
    refused = await gateway.run("institution", "create", "Bank Contoh", *WHY)
    assert (refused.code, refused.out) == (1, "")
    assert await gateway.listed("institution") == []
    assert await gateway.entries() == []


async def test_a_key_is_in_no_table(
    gateway: CommandLine, superuser: Connection
) -> None:
    bank = str((await gateway.made("institution", "create", "Bank Contoh"))["id"])
    text = (await gateway.made("key", "create", bank))["key"]
    tables = await superuser.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    rows = [
        row["whole"]
        for table in tables
        for row in await superuser.fetch(
            f"SELECT t::text AS whole FROM {table['name']} AS t"
        )
    ]
    # The id is there, so these are the rows that would hold the rest.
    assert any(text[9:17] in row for row in rows)
    for hidden in (text[17:], text[17:].encode().hex()):
        assert not any(hidden in row for row in rows)


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_changed(
    gateway: CommandLine,
) -> None:
    bank = str((await gateway.made("institution", "create", "Bank Contoh"))["id"])
    refused = await gateway.run(
        *("agreement", "create", bank, "--from", "2026-13-01"),
        *("--rate", "50", "--burst", "0", "--day", "1000"),
        *("--grant", "kyc:verify:name,salary", "--grant", "kyc"),
        *("--reason", "about 3171014501900001"),
    )
    assert (refused.code, refused.out) == (2, "")
    pointers = [line.partition(": ")[0] for line in refused.err.splitlines()]
    assert sorted(pointers) == [
        *("/from", "/grants/0/fields/1", "/grants/1"),
        *("/limits/burst", "/limits/month", "/reason", "/to"),
    ]
    assert "3171014501900001" not in refused.err
    assert await gateway.listed("agreement") == []
    assert len(await gateway.entries()) == 1


@pytest.mark.parametrize(
    ("words", "pointers"),
    [
        (("institution", "create", " "), ["/name"]),
        (("staff", "create", "Siti", "--role", "king"), ["/role"]),
        (("key", "create", "1", "--not-after", "soon"), ["/not_after"]),
        (("key", "create", "1", "--cidr", "10.0.0.1/8"), ["/cidrs/0"]),
        (("agreement", "change", "1"), [""]),
    ],
)
async def test_a_bad_input_exits_2_with_where_it_is(
    gateway: CommandLine, words: tuple[str, ...], pointers: list[str]
) -> None:
    refused = await gateway.run(*words, *WHY)
    assert refused.code == 2
    told = [line.partition(": ")[0] for line in refused.err.splitlines()]
    assert told == pointers


@pytest.mark.parametrize(
    "words",
    [
        ("agreement", "create", "77", *TERMS),
        ("agreement", "change", "77", "--rate", "5"),
        ("key", "create", "77"),
        ("key", "revoke", "Ab3dE6gH"),
        ("staff", "revoke", "77"),
    ],
)
async def test_what_is_not_there_exits_1_with_a_sentence(
    gateway: CommandLine, words: tuple[str, ...]
) -> None:
    refused = await gateway.run(*words, *WHY)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("There is no such ")
    assert await gateway.entries() == []


async def test_an_agreement_reads_back_as_it_was_given(gateway: CommandLine) -> None:
    bank = (await gateway.made("institution", "create", "Bank Contoh"))["id"]
    pact = (await gateway.made("agreement", "create", str(bank), *TERMS))["id"]
    words = ("--day", "2000", "--shadow", "day=500,rate=9")
    await gateway.run("agreement", "change", str(pact), *words, *WHY)
    assert await gateway.listed("agreement") == [
        {
            "id": pact,
            "institution": bank,
            # A plain date is its midnight in Jakarta.
            "from": "2025-12-31T17:00:00.000000Z",
            "to": "2027-01-01T00:00:00.000000Z",
            "status": "active",
            "grants": [
                {
                    "purpose": "kyc",
                    "operations": ["verify", "batch"],
                    "fields": ["name", "birth_date"],
                    "name_similarity": 0.9,
                },
                {
                    "purpose": "treatment",
                    "operations": ["fetch"],
                    "fields": ["blood_type"],
                    "name_similarity": 0.8,
                },
            ],
            "limits": {"rate": 50, "burst": 100, "day": 2000, "month": 20000},
            "shadow": {"rate": 9, "burst": 100, "day": 500, "month": 20000},
        }
    ]


async def test_lists_show_all_that_is_kept_and_no_secret(gateway: CommandLine) -> None:
    bank = (await gateway.made("institution", "create", "[b]Bank[/b] Contoh"))["id"]
    endless = (*TERMS, "--to", "9999-12-31T23:59:59Z")
    await gateway.made("agreement", "create", str(bank), *endless)
    key = await gateway.made("key", "create", str(bank), "--not-after", "2030-01-01")
    staff = await gateway.made("staff", "create", "Siti", "--role", "ops")
    shown = {
        what: (await gateway.run(what, "list", COLUMNS="240")).out
        for what in ("institution", "agreement", "key", "staff")
    }
    assert "[b]Bank[/b] Contoh" in shown["institution"]
    assert "kyc:verify,batch:name,birth_date:0.9" in shown["agreement"]
    assert key["id"] in shown["key"]
    assert "2030-01-01T00:00:00+07:00" in shown["key"]
    assert "Siti" in shown["staff"]
    (token,) = await gateway.listed("staff")
    assert (token["id"], token["not_after"]) == (staff["id"], None)
    for secret in (key["key"], staff["token"]):
        assert secret[17:] not in "".join(shown.values())


async def test_a_missing_or_bad_setting_exits_78_without_its_value(
    gateway: CommandLine,
) -> None:
    bad = await gateway.run("key", "list", GATEWAY_ADMIN_DSN="mysql://u:s3cret@h/d")
    assert (bad.code, "GATEWAY_ADMIN_DSN is bad" in bad.err) == (78, True)
    assert "s3cret" not in bad.err
    for words in (("migrate",), ("serve",)):
        missing = await gateway.run(*words)
        assert (missing.code, "_DSN is missing" in missing.err) == (78, True)


async def test_a_pepper_file_open_to_others_exits_78(gateway: CommandLine) -> None:
    gateway.pepper.chmod(0o640)
    refused = await gateway.run("institution", "create", "Bank Contoh", *WHY)
    assert (refused.code, "GATEWAY_PEPPER_FILE" in refused.err) == (78, True)


async def test_a_database_that_cannot_be_reached_exits_69_without_its_dsn(
    gateway: CommandLine,
) -> None:
    nowhere = "postgres://gateway_admin:s3cret@127.0.0.1:1/gateway"
    wrong = re.sub(r":[^:@]+@", ":s3cret@", gateway.database.dsn("admin"))
    for words, setting, dsn in (
        (("key", "list"), "GATEWAY_ADMIN_DSN", nowhere),
        (("key", "list"), "GATEWAY_ADMIN_DSN", wrong),
        (("institution", "create", "Bank", *WHY), "GATEWAY_ADMIN_DSN", nowhere),
        (("migrate",), "GATEWAY_OWNER_DSN", nowhere),
    ):
        ended = await gateway.run(*words, **{setting: dsn})
        assert (ended.code, setting in ended.err) == (69, True)
        assert "s3cret" not in ended.err
        assert len(ended.err.splitlines()) == 1


async def test_a_change_cut_off_on_the_way_exits_74_and_says_where_to_look(
    gateway: CommandLine, superuser: Connection
) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    waiting = "application_name = 'gateway-command' AND wait_event_type = 'Lock'"
    async with superuser.transaction(), asyncio.timeout(20):
        await superuser.execute("LOCK TABLE institutions")
        async with asyncio.TaskGroup() as tasks:
            command = gateway.run("institution", "create", "Bank Contoh", *WHY)
            running = tasks.create_task(command)
            while not await superuser.fetchval(f"{end} WHERE {waiting}"):
                # Within a transaction, what others do is seen as it was at first.
                await superuser.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.02)
    cut = running.result()
    assert (cut.code, "list" in cut.err) == (74, True)
    assert await gateway.listed("institution") == []


async def test_migrate_may_be_repeated(gateway: CommandLine) -> None:
    owner = gateway.database.dsn("owner")
    ended = await gateway.run("migrate", GATEWAY_OWNER_DSN=owner)
    assert (ended.code, ended.err) == (0, "")


async def test_migrate_that_fails_exits_1_with_what_dbmate_said(
    gateway: CommandLine,
) -> None:
    # This role may not create the table in which dbmate notes what it applied.
    ended = await gateway.run(
        "migrate", GATEWAY_OWNER_DSN=gateway.database.dsn("registry")
    )
    assert ended.code == 1
    assert "permission denied" in ended.err

"""Every query of every queries.sql is one that PostgreSQL takes from who runs it."""

from importlib.resources import files

import asyncpg
import pytest

from gateway.postgres import queries
from tests.conftest import Database

pytestmark = pytest.mark.integration

# Who runs which query. A new query is written here, or the first test fails.
RUN_BY = {
    "gateway.audit": {
        "hot": [
            "draw_worker_number",
            "append",
            "append_remembering",
            "append_further",
            "claim_keys",
            "recall_keys",
            "release_claims",
            "create_partitions",
            "sealing_lag",
            "partitions",
            "default_rows",
            *("is_approved", "file_approval", "recent_approvals", "approve_search"),
        ],
        "admin": ["draw_worker_number", "append"],
        "owner": [
            "draw_worker_number",
            "append",
            "untidied",
            "btrees_of",
            "partitions",
            "default_rows",
            "move_default_rows",
            "archived_days",
            "sealed_batches",
            "entries_of_batches",
            "leaves_of_span",
            "unsealed_between",
            "is_rolled_up",
            "count_entries",
            "try_to_be_the_archiver",
            "record_archived_day",
            "archived_day",
            "drop_archived_day",
            "hold_days",
            "release_hold",
            "holds",
            "lock_holds",
            "expire_day",
        ],
        "receipts": ["act_for_institution", "entry_at", "extent", "page", "page_reach"],
        "auditor": [
            "extent",
            "entry_at",
            "page",
            "page_reach",
            "newest_checkpoint",
            "find_nodes",
            "find_leaves",
            "sealed_extent",
            "leaves_of_batches",
            "leaves_of_entries",
            "entries_of_named_batches",
            "reach",
            *("sealed_from", "first_batch_above", "late_batches"),
            "count_days",
            "count_hours",
            "count_span",
            "count_batches",
            "read_in_index_order",
            "admissions",
            "units_charged",
            "purpose_names",
            "charged_days",
            "charged_in_batches",
            "held_by_jobs",
            *("read_by_trees", "arrivals"),
            "archived_days",
            "archived_days_of_leaves",
            "sealed_hashes",
            "sealed_batches",
            "places_of_leaves",
            "leaf_at",
            "key_id",
            "partitions",
            "days_ahead",
            "database_bytes",
            "default_rows",
            "newest_cosigned",
            "newest_cosignatures",
            "sealing",
        ],
        "sealer": [
            "try_to_be_the_sealer",
            "summarize_entries",
            "newest_sealed",
            *("new_batches", "late_batches", "first_batch_above"),
            "entries_of_batches",
            "insert_seals",
            "insert_nodes",
            "insert_checkpoint",
            "newest_checkpoint",
            "find_nodes",
            "find_leaves",
            "try_to_be_the_courier",
            "insert_cosignature",
            "cosigned_above",
            "hold_rollups",
            "sealed_from",
            "roll_up",
            "rolled_up_to",
            "forget_keys",
        ],
    },
    "gateway.console": {
        "hot": [
            *("begin_session", "see_session", "look_at_session", "end_session"),
            *("arrive", "bound_to"),
        ],
    },
    # A role asks the catalogues of itself; the rest is asked as the one that writes the log.
    "gateway.doctor": {
        "hot": [
            *("durability", "powers", "rights", "quoting", "clock", "ending_keys"),
            *("ending_certificates", "room_for_locks"),
        ],
        "registry": ["powers", "rights"],
        "auditor": ["powers", "rights"],
        "receipts": ["powers", "rights", "own_entries_alone"],
        "admin": ["powers", "rights"],
        "sealer": ["powers", "rights"],
    },
    "gateway.jobs": {
        "hot": [
            *("begin", "keep_items", "twice", "accept", "drop_received", "find"),
            *("take", "leave", "items", "advance", "keep_answers", "drop_items"),
            *("drop_answers", "reserve_anew", "lock", "end", "answers", "forget"),
            *("drop_answered_items", "left_over", "outlived", "still_receiving"),
        ],
    },
    "gateway.quota": {
        "hot": [
            "epoch",
            "leave_redis",
            "admit_alone",
            "return_to_redis",
            "admit_beside_others",
            "counters_of",
            "keep_counters",
            "shadows_of",
            "keep_shadows",
            "load_counters",
            "take_over_counters",
        ],
        "auditor": ["epoch", "institution_ids", "all_counters"],
    },
    "gateway.registry": {"registry": ["find_residents", "answers"]},
    "gateway.partners": {
        "hot": [
            "directory_state",
            "directory_version",
            "purposes",
            "institutions",
            "agreements",
            "keys",
            "certificates",
            "take_step",
        ],
        "auditor": ["institutions", "limits_of_an_institution"],
        "admin": [
            "purposes",
            "institutions",
            "agreements",
            "institution_keys",
            "certificates",
            "staff_members",
            "lock_institution",
            "lock_agreement",
            "count_live_keys",
            "insert_institution",
            "let_go",
            "insert_agreement",
            "update_agreement",
            "set_shadow",
            "delete_grants",
            "insert_grant",
            "insert_staff",
            "insert_key",
            "revoke_key",
            "revoke_staff",
            "is_bound",
            "insert_certificate",
            "unbind_certificate",
            "count_certificates",
            *("lock_staff", "delete_identity", "insert_identity"),
            "insert_change",
            "changes_of",
            *("one_use_at_a_time", "proposals_alike", "insert_proposal", "proposals"),
            *("count_proposals", "insert_verdict"),
        ],
    },
}
RUNS = [
    (package, role, name)
    for package, roles in RUN_BY.items()
    for role, names in roles.items()
    for name in names
]


@pytest.mark.parametrize("package", RUN_BY)
def test_every_query_is_run_by_somebody(package: str) -> None:
    listed = {name for names in RUN_BY[package].values() for name in names}
    assert set(queries(package)) == listed


def test_every_file_of_queries_is_looked_at() -> None:
    root = files("gateway")
    found = {
        f"gateway.{folder.name}"
        for folder in root.iterdir()
        if folder.is_dir() and folder.joinpath("queries.sql").is_file()
    }
    assert found == set(RUN_BY)


@pytest.mark.parametrize("package", RUN_BY)
def test_every_query_says_in_a_line_what_it_answers(package: str) -> None:
    for name, text in queries(package).items():
        first = text.splitlines()[0]
        assert first.startswith("-- "), name
        assert len(first.removeprefix("-- ").split()) >= 4, name


async def test_every_query_is_prepared_by_the_role_that_runs_it(
    database: Database,
) -> None:
    refused = []
    for role in sorted({role for _, role, _ in RUNS}):
        connection = await asyncpg.connect(database.dsn(role))
        for package, _, name in [run for run in RUNS if run[1] == role]:
            try:
                await connection.prepare(queries(package)[name])
            except asyncpg.PostgresError as error:
                refused.append((package, role, name, str(error)))
        await connection.close()
    assert refused == []


# PREPARE checks no rights; PostgreSQL does when a plan is carried out.
NEEDS = [run for run in RUNS if run[2] != "create_partitions"]


async def test_every_query_is_allowed_to_the_role_that_runs_it(
    database: Database,
) -> None:
    refused = []
    for role in sorted({role for _, role, _ in NEEDS}):
        connection = await asyncpg.connect(database.dsn(role))
        for package, _, name in [run for run in NEEDS if run[1] == role]:
            prepared = await connection.prepare(queries(package)[name])
            arguments = [None] * len(prepared.get_parameters())
            attempt = connection.transaction()
            await attempt.start()
            try:
                await prepared.fetch(*arguments)
            except asyncpg.InsufficientPrivilegeError as error:
                refused.append((package, role, name, str(error)))
            except asyncpg.PostgresError:
                # It got as far as its arguments, which say nothing: it may run.
                pass
            finally:
                await attempt.rollback()
        await connection.close()
    assert refused == []

"""Guards of docs/security.md, each as the change of one place that takes it away."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Removal:
    """In `file`, where `guard` stands once, it becomes `without`; then `test` must fail."""

    name: str
    file: str
    guard: str
    without: str
    # As docs/security.md names it, from tests/.
    test: str


REMOVALS: Final = (
    Removal(
        "fields outside the grant",
        "gateway/partners/agreement.py",
        "    if outside:\n",
        "    if False and outside:\n",
        "properties/test_permit_properties.py::test_permit_never_widens_a_grant_and_never_refuses_what_is_granted",
    ),
    Removal(
        "the agreement's dates",
        "gateway/partners/agreement.py",
        ' or agreement.status != "active" or not agreement.covers(at):',
        ' or agreement.status != "active":',
        "properties/test_permit_properties.py::test_nothing_is_permitted_outside_the_dates_of_every_agreement",
    ),
    Removal(
        "the checksum of a key",
        "gateway/partners/keys.py",
        " or text[-CHECKSUM_LENGTH:] != checksum(text[:-CHECKSUM_LENGTH]):",
        ":",
        "unit/test_keys.py::test_one_wrong_character_anywhere_is_seen_without_a_lookup",
    ),
    Removal(
        "the work that an unknown id costs",
        "gateway/partners/directory.py",
        "        pepper = self._newest_pepper\n",
        "        if key is None:\n            raise Unauthenticated\n"
        "        pepper = self._newest_pepper\n",
        "integration/test_directory.py::test_an_unknown_id_costs_the_same_work_as_a_wrong_secret",
    ),
    Removal(
        "the networks of a key",
        "gateway/partners/directory.py",
        "not self.networks or any(address in net for net in self.networks)",
        "True",
        "integration/test_directory.py::test_a_key_admits_only_its_networks",
    ),
    Removal(
        "the end of a key",
        "gateway/partners/directory.py",
        "if key.revoked or (key.not_after is not None and now >= key.not_after):",
        "if key.revoked:",
        "integration/test_directory.py::test_a_key_is_dead_from_its_not_after",
    ),
    Removal(
        "two keys at most",
        "gateway/partners/keeping.py",
        "    await _lock_institution(connection, institution)\n"
        '    live = await connection.fetchval(_SQL["count_live_keys"], institution)\n',
        '    live = await connection.fetchval(_SQL["count_live_keys"], institution)\n',
        "integration/test_keeping.py::test_of_keys_made_at_once_only_two_come_to_live",
    ),
    Removal(
        "an answer of what was asked alone",
        "gateway/registry/resident.py",
        "        places = sorted([_PLACE[field] for field in fields])\n",
        "        places = sorted({_PLACE[field] for field in fields} | {0})\n",
        "unit/test_resident.py::test_a_projection_gives_nothing_that_was_not_asked",
    ),
    Removal(
        "members that nobody knows",
        "gateway/edge/strict.py",
        "    if not members.keys() <= known:\n",
        "    if False:\n",
        "unit/test_strict.py::test_every_unknown_and_repeated_member_is_named_once",
    ),
    Removal(
        "a NIK in a free text",
        "gateway/edge/strict.py",
        "    elif _SIXTEEN_DIGITS.search(_joined(value)):\n",
        "    elif False:\n",
        "properties/test_strict_properties.py::test_sixteen_digits_of_any_script_are_refused_in_free_text",
    ),
    Removal(
        "secrets that others can read",
        "gateway/settings.py",
        "    if mode & (stat.S_IRWXG | stat.S_IRWXO):\n",
        "    if mode & stat.S_IRWXO:\n",
        "unit/test_settings.py::test_secrets_that_others_can_reach_are_refused",
    ),
    Removal(
        "proxies that nobody named",
        "gateway/edge/proxies.py",
        "            if self._read(peer)[1]:\n",
        "            if True:\n",
        "unit/test_proxies.py::test_nobody_else_is_believed",
    ),
    Removal(
        "cells that are computed",
        "gateway/edge/spreadsheet.py",
        '_COMPUTED: Final = ("=", "+", "-", "@")',
        '_COMPUTED: Final = ("=", "+", "-")',
        "unit/test_spreadsheet.py::test_what_people_wrote_is_not_computed",
    ),
    Removal(
        "whose an idempotency key is",
        "gateway/audit/idempotency.py",
        'b"%d %s" % (institution, key.encode("ascii"))',
        'key.encode("ascii")',
        "unit/test_idempotency.py::test_no_two_institutions_and_no_two_keys_are_taken_for_each_other",
    ),
    Removal(
        "an entry before its answer",
        "gateway/audit/journal.py",
        "        else:\n            await self._journal.record(access)\n",
        "        elif error is not None:\n            await self._journal.record(access)\n",
        "integration/test_lookup.py::test_no_answer_is_released_before_its_entry_is_durable",
    ),
    Removal(
        "a log that is added to alone",
        "sql/roles.sql",
        "GRANT INSERT ON batches, entries TO gateway_hot, gateway_admin;",
        "GRANT INSERT, UPDATE ON batches, entries TO gateway_hot, gateway_admin;",
        "integration/test_append_only.py::test_no_role_of_the_gateway_can_change_the_log",
    ),
    Removal(
        "an institution's own entries",
        "sql/roles.sql",
        "        ALTER TABLE entries ENABLE ROW LEVEL SECURITY;\n",
        "",
        "integration/test_row_level_security.py::test_an_institution_is_shown_its_own_entries_whatever_the_query",
    ),
    Removal(
        "the signed root",
        "gateway/audit/verification.py",
        "return checkpoint is not None and root == checkpoint.root",
        "return checkpoint is not None",
        "unit/test_verification.py::test_every_mutation_is_found_and_its_first_line_named",
    ),
)

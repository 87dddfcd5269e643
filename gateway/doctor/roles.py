"""What the roles that the gateway logs in as may do, held against sql/roles.sql: pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from typing_extensions import override

from gateway.doctor.finding import Finding, unsafe, warning

# What is added to and never changed, and which setting's role adds to it.
ADDS: Final[Mapping[str, frozenset[str]]] = {
    "batches": frozenset({"GATEWAY_POSTGRES_DSN", "GATEWAY_ADMIN_DSN"}),
    "entries": frozenset({"GATEWAY_POSTGRES_DSN", "GATEWAY_ADMIN_DSN"}),
    "idempotency_answers": frozenset({"GATEWAY_POSTGRES_DSN"}),
    "changes": frozenset({"GATEWAY_ADMIN_DSN"}),
    "proposals": frozenset({"GATEWAY_ADMIN_DSN"}),
    "verdicts": frozenset({"GATEWAY_ADMIN_DSN"}),
    "seals": frozenset({"GATEWAY_SEALER_DSN"}),
    "nodes": frozenset({"GATEWAY_SEALER_DSN"}),
    "checkpoints": frozenset({"GATEWAY_SEALER_DSN"}),
    "cosignatures": frozenset({"GATEWAY_SEALER_DSN"}),
    "archived_days": frozenset(),
    "legal_holds": frozenset(),
}
READERS: Final = ("GATEWAY_AUDITOR_DSN", "GATEWAY_RECEIPTS_DSN", "GATEWAY_REGISTRY_DSN")
_CHANGES: Final = frozenset({"own", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER"})
_POWERS: Final = {
    "bypassrls": "passes over row-level security (BYPASSRLS)",
    "createrole": "makes roles (CREATEROLE)",
    "replication": "copies the whole server (REPLICATION)",
    "programs": "runs programs or writes files on the server",
}


class Right(NamedTuple):
    """What a role may do to a table: of SQL's words, and `own`."""

    schema: str
    table: str
    rights: frozenset[str]

    @override
    def __str__(self) -> str:
        return f"{', '.join(sorted(self.rights))} on {self.schema}.{self.table}"


def judge(
    setting: str, powers: Mapping[str, bool], rights: list[Right]
) -> list[Finding]:
    """Findings of the role that `setting` logs in as."""
    role = f"{setting} logs in as a role that"
    instead = f"log in as {_ROLES[setting]} with what sql/roles.sql grants it"
    if powers["superuser"]:
        says = f"{role} is a superuser, or can become one: {instead}."
        return [unsafe("superuser", says)]
    found = [
        unsafe(power, f"{role} {does}: take that from it, or {instead}.")
        for power, does in _POWERS.items()
        if powers[power]
    ]
    for check, held in _too_many(setting, rights).items():
        if held:
            says = f"{role} has {'; '.join(map(str, held))}: revoke that, or {instead}."
            make = warning if check == "registry-writer" else unsafe
            found.append(make(check, says))
    return found


def _too_many(setting: str, rights: list[Right]) -> dict[str, list[Right]]:
    """Rights beyond those of sql/roles.sql, by the check that tells of them."""
    changing, adding, writing, around = [], [], [], []
    for schema, table, held in rights:
        ours = schema == "public" and table in ADDS
        if ours and held & _CHANGES:
            changing.append(Right(schema, table, held & _CHANGES))
        elif ours and "INSERT" in held and setting not in ADDS[table]:
            adding.append(Right(schema, table, frozenset({"INSERT"})))
        elif not ours and setting in READERS and held - {"SELECT"}:
            writing.append(Right(schema, table, held - {"SELECT"}))
        if setting == "GATEWAY_RECEIPTS_DSN" and "SELECT" in held and ours:
            around.append(Right(schema, f"{table}'s partitions", frozenset({"SELECT"})))
    registry = setting == "GATEWAY_REGISTRY_DSN"
    writes = "registry-writer" if registry else "reader-writes"
    return {
        "log-changer": changing,
        "log-adder": adding,
        writes: writing,
        "policy-passed-over": around,
    }


def judge_receipts(*, alone: bool | None) -> list[Finding]:
    """Whether GATEWAY_RECEIPTS_DSN shows an institution its own entries alone."""
    if alone is not False:
        return []
    return [
        unsafe(
            "receipts-unbounded",
            "GATEWAY_RECEIPTS_DSN logs in as a role to which row-level security shows "
            "every institution's entries: log in as gateway_receipts, and see that "
            "entries has ROW LEVEL SECURITY enabled (sql/roles.sql).",
        )
    ]


_ROLES: Final = {
    "GATEWAY_POSTGRES_DSN": "gateway_hot",
    "GATEWAY_REGISTRY_DSN": "gateway_registry",
    "GATEWAY_AUDITOR_DSN": "gateway_auditor",
    "GATEWAY_RECEIPTS_DSN": "gateway_receipts",
    "GATEWAY_ADMIN_DSN": "gateway_admin",
    "GATEWAY_SEALER_DSN": "gateway_sealer",
}

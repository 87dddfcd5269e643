"""Ways in which a role of the gateway comes to may more than sql/roles.sql gives it."""

HOT, AUDITOR = "GATEWAY_POSTGRES_DSN", "GATEWAY_AUDITOR_DSN"
RECEIPTS, REGISTRY = "GATEWAY_RECEIPTS_DSN", "GATEWAY_REGISTRY_DSN"
SEALER, ADMIN = "GATEWAY_SEALER_DSN", "GATEWAY_ADMIN_DSN"


def granted(what: str, role: str) -> tuple[str, str]:
    return f"GRANT {what} TO gateway_{role}", f"REVOKE {what} FROM gateway_{role}"


def given(power: str, role: str) -> tuple[str, str]:
    return f"ALTER ROLE gateway_{role} {power}", f"ALTER ROLE gateway_{role} NO{power}"


# Whose role, what is done, and the check that tells of it.
ROLES = [
    (HOT, "superuser", *given("SUPERUSER", "hot")),
    (
        *(AUDITOR, "superuser"),
        "CREATE ROLE boss SUPERUSER; GRANT boss TO gateway_auditor WITH INHERIT FALSE",
        "DROP ROLE boss",
    ),
    (RECEIPTS, "bypassrls", *given("BYPASSRLS", "receipts")),
    (HOT, "createrole", *given("CREATEROLE", "hot")),
    (AUDITOR, "replication", *given("REPLICATION", "auditor")),
    (SEALER, "programs", *granted("pg_execute_server_program", "sealer")),
    (REGISTRY, "programs", *granted("pg_write_server_files", "registry")),
    (
        *(SEALER, "log-changer"),
        "ALTER TABLE nodes OWNER TO gateway_sealer",
        (
            "ALTER TABLE nodes OWNER TO gateway_owner;"
            "GRANT SELECT, INSERT ON nodes TO gateway_sealer"
        ),
    ),
    (HOT, "log-changer", *granted("UPDATE (reason) ON entries", "hot")),
    (ADMIN, "log-changer", *granted("DELETE ON batches", "admin")),
    (HOT, "log-changer", *granted("DELETE ON entries_default", "hot")),
    (SEALER, "log-changer", *granted("TRUNCATE ON seals", "sealer")),
    (SEALER, "log-changer", *granted("TRIGGER ON checkpoints", "sealer")),
    (REGISTRY, "log-changer", *granted("DELETE ON changes", "registry")),
    (HOT, "log-changer", *granted("UPDATE ON idempotency_answers", "hot")),
    (AUDITOR, "log-changer", *granted("UPDATE ON legal_holds", "auditor")),
    (AUDITOR, "log-adder", *granted("INSERT ON archived_days", "auditor")),
    (SEALER, "log-adder", *granted("INSERT ON entries", "sealer")),
    (HOT, "log-adder", *granted("INSERT ON seals", "hot")),
    (AUDITOR, "reader-writes", *granted("UPDATE (name) ON institutions", "auditor")),
    (RECEIPTS, "reader-writes", *granted("DELETE ON keys", "receipts")),
    (RECEIPTS, "receipts-unbounded", *granted("gateway_auditor", "receipts")),
    (
        *(RECEIPTS, "receipts-unbounded"),
        "ALTER TABLE entries DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE entries ENABLE ROW LEVEL SECURITY",
    ),
    (
        *(RECEIPTS, "receipts-unbounded"),
        "CREATE POLICY everybody_sees ON entries FOR SELECT USING (true)",
        "DROP POLICY everybody_sees ON entries",
    ),
    (RECEIPTS, "policy-passed-over", *granted("SELECT ON entries_default", "receipts")),
]

-- Of catalogues and settings alone, so every role may ask them of itself. A role is itself
-- and every role that it may become, whether or not it inherits from it.

-- name: durability
-- Does a commit outlive the machine, as the server, the database and the role have it set?
SELECT
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('data_checksums') AS data_checksums;

-- name: powers
-- What may this role do that no grant on a table says?
SELECT
    bool_or(rolsuper) AS superuser,
    bool_or(rolbypassrls) AS bypassrls,
    bool_or(rolcreaterole) AS createrole,
    bool_or(rolreplication) AS replication,
    bool_or(rolname IN ('pg_execute_server_program', 'pg_write_server_files')) AS programs
FROM pg_roles
WHERE pg_has_role(session_user, oid, 'MEMBER');

-- name: rights
-- Which tables may this role change, and how? A partition counts as its table; that one may
-- be read by itself is told too, since the table's policies do not hold there.
SELECT
    namespace.nspname AS schema,
    whole.relname AS "table",
    array_agg(DISTINCT a.word ORDER BY a.word) AS rights
FROM pg_class AS c
JOIN pg_class AS whole ON whole.oid = CASE WHEN c.relispartition THEN pg_partition_root(c.oid) ELSE c.oid END
JOIN pg_namespace AS namespace ON namespace.oid = whole.relnamespace
JOIN pg_roles AS role ON pg_has_role(session_user, role.oid, 'MEMBER')
CROSS JOIN LATERAL (VALUES
    ('own', c.relowner = role.oid),
    ('INSERT', has_any_column_privilege(role.oid, c.oid, 'INSERT')),
    ('UPDATE', has_any_column_privilege(role.oid, c.oid, 'UPDATE')),
    ('DELETE', has_table_privilege(role.oid, c.oid, 'DELETE')),
    ('TRUNCATE', has_table_privilege(role.oid, c.oid, 'TRUNCATE')),
    ('TRIGGER', has_table_privilege(role.oid, c.oid, 'TRIGGER')),
    ('SELECT', c.relispartition AND has_any_column_privilege(role.oid, c.oid, 'SELECT'))
) AS a (word, has)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.has
    -- Of thousands of partitions few have rights of their own: who has none is the owner's.
    AND (NOT c.relispartition OR c.relacl IS NOT NULL OR pg_has_role(session_user, c.relowner, 'MEMBER'))
    AND namespace.nspname !~ '^(pg_|information_schema$)'
GROUP BY 1, 2;

-- name: own_entries_alone
-- Does row-level security keep this role to one institution's entries? No row where there is
-- no such table.
SELECT c.relrowsecurity AND NOT EXISTS (
    SELECT FROM pg_policy AS policy
    WHERE policy.polrelid = c.oid AND policy.polpermissive AND policy.polcmd IN ('r', '*')
        AND coalesce(pg_get_expr(policy.polqual, c.oid), 'true') NOT LIKE '%gateway.institution%'
        AND (0 = ANY(policy.polroles) OR EXISTS (
            SELECT FROM unnest(policy.polroles) AS held (role)
            WHERE held.role <> 0 AND pg_has_role(session_user, held.role, 'MEMBER')
        ))
) AS alone
FROM pg_class AS c
JOIN pg_namespace AS namespace ON namespace.oid = c.relnamespace
WHERE namespace.nspname = 'public' AND c.relname = 'entries';

-- name: quoting
-- Which of the server's settings let its own log quote statements, parameters or rows?
SELECT
    current_setting('log_statement') IN ('mod', 'all') AS log_statement,
    current_setting('log_min_duration_statement') <> '-1' AS log_min_duration_statement,
    current_setting('log_min_error_statement') <> 'panic' AS log_min_error_statement,
    current_setting('log_error_verbosity') <> 'terse' AS log_error_verbosity,
    current_setting('log_parameter_max_length') <> '0' AS log_parameter_max_length,
    current_setting('log_parameter_max_length_on_error') <> '0' AS log_parameter_max_length_on_error;

-- name: clock
-- What time is it there?
SELECT clock_timestamp();

-- name: ending_keys
-- How many keys and tokens that live end within $1, and when does the first? Reads them all.
SELECT count(*) AS keys, min(not_after) AS first
FROM keys
WHERE revoked_at IS NULL AND not_after BETWEEN now() AND now() + $1::interval;

-- name: ending_certificates
-- How many institutions have no certificate that admits them beyond $1 from now, though they are
-- bound to one, and when does the first have none? Reads all bindings.
SELECT count(*) AS institutions, min(ends) AS first
FROM (
    SELECT max(not_after) AS ends FROM certificates WHERE unbound_at IS NULL GROUP BY institution
) AS bound
WHERE ends < now() + $1::interval;

-- name: room_for_locks
-- For how many locks has the server's table room?
SELECT current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint);

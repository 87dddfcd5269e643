-- Run once by the postgres image, as the superuser, when its volume is empty: makes the
-- gateway's roles, each with the password in the file of its name, and the database.
-- What each may do is granted by sql/roles.sql, which leaves roles that exist alone.
-- The server reads the files itself, so that no password is on a command line; a file
-- that is missing ends the initialisation with an error.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY[
        'gateway_owner', 'gateway_hot', 'gateway_registry', 'gateway_sealer', 'gateway_auditor',
        'gateway_receipts', 'gateway_admin'
    ] LOOP
        EXECUTE format('CREATE ROLE %I LOGIN PASSWORD %L', role, trim(pg_read_file('/run/secrets/' || role), E'\n'));
    END LOOP;
END
$$;

-- It makes the roles that later migrations may need.
ALTER ROLE gateway_owner CREATEROLE;
CREATE DATABASE gateway OWNER gateway_owner;

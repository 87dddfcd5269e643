-- migrate:up

-- Who is answering an idempotency key at this moment: one attempt, for ten seconds. The
-- digests are HMACs of gateway/audit/idempotency.py: nothing personal, and the key itself
-- stands nowhere. Unlogged, since a claim is worth nothing after a crash of the server: so
-- making one waits neither for the disk nor for a standby.
CREATE UNLOGGED TABLE idempotency_claims (
    until timestamptz NOT NULL,
    institution integer NOT NULL,
    key_digest bytea NOT NULL,
    body_digest bytea NOT NULL,
    PRIMARY KEY (institution, key_digest),
    CONSTRAINT claims_hold_digests_of_sixteen_bytes CHECK (
        octet_length(key_digest) = 16 AND octet_length(body_digest) = 16
    )
);

-- Which charged entry answered an idempotency key: written in the entry's own statement, so
-- that one is there if the other is. Its age is that of its batch. The primary key ends
-- in the entry's place, so that no row is ever in another's way and no flush of the log
-- can fail on its account.
CREATE TABLE idempotency_answers (
    batch bigint NOT NULL,
    institution integer NOT NULL,
    position smallint NOT NULL,
    key_digest bytea NOT NULL,
    body_digest bytea NOT NULL,
    PRIMARY KEY (institution, key_digest, batch, position),
    CONSTRAINT answers_hold_digests_of_sixteen_bytes CHECK (
        octet_length(key_digest) = 16 AND octet_length(body_digest) = 16
    )
);
-- The oldest first, to forget them.
CREATE INDEX idempotency_answers_by_age ON idempotency_answers (batch);

-- Forgets answers over 25 hours old (they count for 24) and claims that have run out, at most
-- so many of each; how many there were. One caller at a time, the others have nothing to do.
CREATE FUNCTION forget_idempotency_keys(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    youngest bigint := ((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 25 * 3600 * 1000) << 21;
    answers integer;
    claims integer;
BEGIN
    IF most NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'between 1 and 100000 are forgotten at once';
    END IF;
    IF NOT pg_try_advisory_xact_lock(7305131) THEN
        RETURN 0;
    END IF;
    DELETE FROM idempotency_answers WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_answers WHERE batch < youngest ORDER BY batch LIMIT most
    ));
    GET DIAGNOSTICS answers = ROW_COUNT;
    -- One that is just being taken anew is no longer due, and is not waited for.
    DELETE FROM idempotency_claims WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM idempotency_claims WHERE until < clock_timestamp() LIMIT most FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS claims = ROW_COUNT;
    RETURN answers + claims;
END
$$;

-- migrate:down
DROP FUNCTION forget_idempotency_keys;
DROP TABLE idempotency_answers, idempotency_claims;

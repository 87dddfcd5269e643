-- migrate:up

-- What is seldom in the log, and asked for all the same: without these a search that finds less
-- than a page reads it back to its beginning. Lookups that were answered or refused,
-- nearly all there is, are in none of them, so an entry of one costs nothing more.

-- What staff did and what nobody known asked.
CREATE INDEX entries_of_no_institution ON entries (at) WHERE institution = 0;
-- All but verify, fetch and those two of a batch.
CREATE INDEX entries_of_other_operations ON entries (operation, at)
WHERE operation NOT IN (1::"char", 2::"char", 5::"char", 6::"char");
CREATE INDEX entries_that_failed ON entries (at) WHERE outcome = 6::"char";

-- The rollups of days once more, by one thing each: a month of them by institution, outcome and
-- purpose at once is most of a million rows, and a page that counts a month reads them all.
CREATE TABLE sums_of_days (
    since timestamptz NOT NULL,
    entries bigint NOT NULL,
    charged bigint NOT NULL,
    refused bigint NOT NULL,
    -- Of what `by` says; null where the entries have none.
    key integer,
    by text COLLATE "C" NOT NULL,
    CONSTRAINT a_day_is_summed_once UNIQUE NULLS NOT DISTINCT (by, since, key),
    CONSTRAINT days_are_summed_by_one_thing CHECK (by IN ('institution', 'outcome', 'purpose'))
) WITH (fillfactor = 50);

-- Whoever rolls up waits until both hold the same.
SELECT below FROM rolled_up FOR UPDATE;
INSERT INTO sums_of_days (since, by, key, entries, charged, refused)
SELECT
    r.since, one.by, one.key, sum(r.entries), sum(r.charged), coalesce(sum(r.entries) FILTER (WHERE r.outcome = 5), 0)
FROM rollups AS r
CROSS JOIN LATERAL (
    VALUES ('institution', r.institution), ('outcome', r.outcome), ('purpose', r.purpose)
) AS one (by, key)
WHERE r.hours = 24
GROUP BY 1, 2, 3;

-- As in the archive's migration, of both.
CREATE OR REPLACE FUNCTION recount_rollups() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    begins timestamptz;
BEGIN
    PERFORM below FROM rolled_up FOR UPDATE;
    IF EXISTS (SELECT FROM archived_days WHERE to_regclass(to_char(day, '"entries_"YYYYMMDD')) IS NOT NULL) THEN
        RAISE EXCEPTION 'an archived day still has its partition: let gateway audit archive end first';
    END IF;
    SELECT (max(day) + 1)::timestamp AT TIME ZONE 'Asia/Jakarta' INTO begins FROM archived_days;
    DELETE FROM rollups WHERE begins IS NULL OR since >= begins;
    DELETE FROM sums_of_days WHERE begins IS NULL OR since >= begins;
    UPDATE rolled_up SET below = coalesce(
        (SELECT min(first_leaf) FROM seals WHERE batch >= coalesce((extract(epoch FROM begins) * 1000)::bigint << 21, 0)),
        (SELECT max(first_leaf) + 1 FROM seals),
        0
    );
END
$$;

-- migrate:down
CREATE OR REPLACE FUNCTION recount_rollups() RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    begins timestamptz;
BEGIN
    PERFORM below FROM rolled_up FOR UPDATE;
    IF EXISTS (SELECT FROM archived_days WHERE to_regclass(to_char(day, '"entries_"YYYYMMDD')) IS NOT NULL) THEN
        RAISE EXCEPTION 'an archived day still has its partition: let gateway audit archive end first';
    END IF;
    SELECT (max(day) + 1)::timestamp AT TIME ZONE 'Asia/Jakarta' INTO begins FROM archived_days;
    DELETE FROM rollups WHERE begins IS NULL OR since >= begins;
    UPDATE rolled_up SET below = coalesce(
        (SELECT min(first_leaf) FROM seals WHERE batch >= coalesce((extract(epoch FROM begins) * 1000)::bigint << 21, 0)),
        (SELECT max(first_leaf) + 1 FROM seals),
        0
    );
END
$$;
DROP TABLE sums_of_days;
DROP INDEX entries_of_no_institution, entries_of_other_operations, entries_that_failed;

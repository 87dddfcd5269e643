-- migrate:up

-- An entry's place in the log is (batch, position). A batch is one flush of one worker;
-- its number is made by the worker: milliseconds since 1970 by the server's clock in the
-- bits above 21, the worker's number in 11, its counter in 10. It is the distribution
-- column on Citus, so it is part of every unique key here.
CREATE TABLE batches (
    batch bigint NOT NULL,
    entries smallint NOT NULL,
    digest bytea NOT NULL,
    digest_key smallint NOT NULL,
    PRIMARY KEY (batch),
    CONSTRAINT a_batch_has_entries CHECK (entries > 0),
    CONSTRAINT batch_digests_are_hmac_sha256 CHECK (length(digest) = 32)
) PARTITION BY RANGE (batch);

-- The row of an entry. Its line, which is what is hashed, is made from it by gateway/audit/entry.py;
-- its access_id is made from (batch, position), so it needs neither a column nor an index.
-- actor, operation, outcome and reason are the numbers of gateway/vocabulary.py; fields are bits.
-- Columns are in the order that pads least.
CREATE TABLE entries (
    batch bigint NOT NULL,
    at timestamptz NOT NULL,
    subject_head bigint,
    subject_tail bigint,
    institution integer,
    key integer,
    fields integer,
    count integer,
    position smallint NOT NULL,
    actor smallint NOT NULL,
    operation smallint,
    purpose smallint,
    outcome smallint NOT NULL,
    reason smallint,
    subject_key smallint,
    address inet,
    reference text,
    operator text,
    replay_of uuid,
    CONSTRAINT entries_lie_within_a_minute_of_their_batch CHECK (
        at BETWEEN to_timestamp((batch >> 21) / 1000.0) - interval '1 minute'
        AND to_timestamp((batch >> 21) / 1000.0) + interval '1 millisecond'
    ),
    CONSTRAINT refused_entries_have_a_reason CHECK (outcome <> 5 OR reason IS NOT NULL),
    CONSTRAINT answers_about_residents_name_a_subject CHECK (
        outcome NOT IN (1, 2, 3, 4) OR (subject_head IS NOT NULL AND institution IS NOT NULL AND key IS NOT NULL)
    ),
    CONSTRAINT a_subject_has_two_halves_and_a_key CHECK (
        num_nonnulls(subject_head, subject_tail, subject_key) IN (0, 3)
    ),
    CONSTRAINT institutions_act_under_their_own_id CHECK ((actor = 1) = (institution IS NOT NULL)),
    CONSTRAINT a_count_of_one_is_not_stored CHECK (count > 1),
    CONSTRAINT only_answers_are_replayed CHECK (replay_of IS NULL OR outcome IN (1, 2, 3, 4))
) PARTITION BY RANGE (at);

-- One institution's (or its key's) entries, newest first.
CREATE INDEX entries_of_an_institution ON entries (institution, at) WHERE institution IS NOT NULL;
-- Who asked about this person: half of the reference is enough to find, the row tells the rest.
CREATE INDEX entries_about_a_subject ON entries (subject_head) WHERE subject_head IS NOT NULL;
-- One entry by its access_id; a span of time over all callers. A few bytes for 32 pages.
CREATE INDEX entries_by_place ON entries USING brin (batch, at) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE batches_default PARTITION OF batches DEFAULT;
CREATE TABLE entries_default PARTITION OF entries DEFAULT;

-- Makes the partitions of yesterday, today and the days ahead, by the day of Asia/Jakarta.
-- Attaching, not creating in place, so that writers are not blocked meanwhile.
CREATE FUNCTION create_partitions(ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'Asia/Jakarta')::date;
    day date;
    starts timestamptz;
    ends timestamptz;
    made integer := 0;
BEGIN
    IF ahead NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'partitions are made 0 to 60 days ahead';
    END IF;
    PERFORM pg_advisory_xact_lock(7305126);
    FOR day IN SELECT generate_series(today - 1, today + ahead, interval '1 day')::date LOOP
        starts := day::timestamp AT TIME ZONE 'Asia/Jakarta';
        ends := (day + 1)::timestamp AT TIME ZONE 'Asia/Jakarta';
        IF to_regclass('entries_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
            EXECUTE format('CREATE TABLE entries_%s (LIKE entries INCLUDING ALL)', to_char(day, 'YYYYMMDD'));
            EXECUTE format(
                'ALTER TABLE entries ATTACH PARTITION entries_%s FOR VALUES FROM (%L) TO (%L)',
                to_char(day, 'YYYYMMDD'), starts, ends
            );
            made := made + 1;
        END IF;
        IF to_regclass('batches_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
            EXECUTE format('CREATE TABLE batches_%s (LIKE batches INCLUDING ALL)', to_char(day, 'YYYYMMDD'));
            EXECUTE format(
                'ALTER TABLE batches ATTACH PARTITION batches_%s FOR VALUES FROM (%L) TO (%L)',
                to_char(day, 'YYYYMMDD'),
                (extract(epoch FROM starts) * 1000)::bigint << 21,
                (extract(epoch FROM ends) * 1000)::bigint << 21
            );
        END IF;
    END LOOP;
    RETURN made;
END
$$;

SELECT create_partitions(7);

-- A worker draws its number when it starts; 2,048 starts pass before one comes again.
CREATE SEQUENCE worker_numbers AS integer MINVALUE 0 MAXVALUE 2047 CYCLE;

-- migrate:down
DROP SEQUENCE worker_numbers;
DROP FUNCTION create_partitions;
DROP TABLE entries, batches;

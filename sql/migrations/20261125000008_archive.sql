-- migrate:up

-- Days of Asia/Jakarta whose entries are in a Parquet file below GATEWAY_ARCHIVE_DIR, and no
-- longer here. A day is recorded when its file has been read back against the seals, and
-- only then are its partitions dropped. Its seals stay, also when its file has expired.
CREATE TABLE archived_days (
    day date PRIMARY KEY,
    file text,
    sha256 bytea,
    bytes bigint NOT NULL,
    entries bigint NOT NULL,
    lowest_leaf bigint,
    highest_leaf bigint,
    archived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expired_at timestamptz,
    CONSTRAINT a_day_without_entries_has_no_file CHECK (
        num_nonnulls(file, sha256, lowest_leaf, highest_leaf) = CASE WHEN entries = 0 THEN 0 ELSE 4 END
    ),
    CONSTRAINT entries_are_leaves CHECK (entries <= highest_leaf - lowest_leaf + 1),
    CONSTRAINT file_digests_are_sha256 CHECK (length(sha256) = 32)
);

-- Days, both inclusive, that may not expire until the hold is released.
CREATE TABLE legal_holds (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_day date NOT NULL,
    last_day date NOT NULL,
    reason text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_at timestamptz,
    CONSTRAINT a_hold_ends_after_it_begins CHECK (last_day >= first_day)
);

-- How many rows lie where no partition took them, of batches and entries together; what is
-- above ten thousand is not counted. A gateway's role may ask, and read none of them.
CREATE FUNCTION default_rows() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::integer FROM (
        (SELECT FROM entries_default LIMIT 10000) UNION ALL (SELECT FROM batches_default LIMIT 10000)
    ) AS rows
$$;

-- Moves the rows of a table's default partition to partitions of their days, save those of
-- archived days; gives how many were moved. They are copied first, while writers go on; the
-- log is locked only to copy what came meanwhile and to attach the partitions.
CREATE FUNCTION move_default_rows(parent text) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    day date;
    days date[];
    held text := parent || '_default';
    made text;
    missing text := 'NOT EXISTS (SELECT FROM %I AS m WHERE m.batch = d.batch'
        || CASE parent WHEN 'entries' THEN ' AND m.position = d.position)' ELSE ')' END;
    moment text := CASE parent WHEN 'entries' THEN 'd.at' ELSE 'to_timestamp((d.batch >> 21) / 1000.0)' END;
    of_day text := format('(%s AT TIME ZONE ''Asia/Jakarta'')::date', moment);
    kept bigint;
    moved bigint := 0;
    n bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7305126);
    EXECUTE format('SELECT array_agg(DISTINCT %s) FROM %I AS d', of_day, held) INTO days;
    days := ARRAY(SELECT unnest(days) EXCEPT SELECT a.day FROM archived_days AS a ORDER BY 1);
    FOREACH day IN ARRAY days LOOP
        made := parent || to_char(day, '_YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', made, parent);
        EXECUTE format('INSERT INTO %I SELECT * FROM %I AS d WHERE %s = %L', made, held, of_day, day);
    END LOOP;
    -- From here on whoever writes or reads the log waits, for as long as lock_timeout and
    -- the rows that came meanwhile take.
    LOCK TABLE batches, entries IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TEMPORARY TABLE staying ON COMMIT DROP AS SELECT * FROM %I AS d WHERE %s <> ALL (%L)', held, of_day, days);
    EXECUTE format('SELECT count(*) FROM %I', held) INTO kept;
    FOREACH day IN ARRAY days LOOP
        made := parent || to_char(day, '_YYYYMMDD');
        EXECUTE format(
            'INSERT INTO %I SELECT * FROM %I AS d WHERE %s = %L AND ' || missing, made, held, of_day, day, made
        );
        EXECUTE format('SELECT count(*) FROM %I', made) INTO n;
        moved := moved + n;
    END LOOP;
    SELECT count(*) INTO n FROM staying;
    IF moved + n <> kept THEN
        RAISE EXCEPTION 'the rows of % do not add up; nothing was moved', held;
    END IF;
    EXECUTE format('TRUNCATE %I', held);
    FOREACH day IN ARRAY days LOOP
        PERFORM attach_partition(parent, day);
    END LOOP;
    EXECUTE format('INSERT INTO %I SELECT * FROM staying', held);
    DROP TABLE staying;
    RETURN moved;
END
$$;

CREATE FUNCTION attach_partition(parent text, day date) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    starts timestamptz := day::timestamp AT TIME ZONE 'Asia/Jakarta';
    ends timestamptz := (day + 1)::timestamp AT TIME ZONE 'Asia/Jakarta';
BEGIN
    EXECUTE format(
        CASE parent
            WHEN 'entries' THEN 'ALTER TABLE entries ATTACH PARTITION %1$I FOR VALUES FROM (%2$L) TO (%3$L)'
            ELSE 'ALTER TABLE batches ATTACH PARTITION %1$I FOR VALUES FROM (%4$L) TO (%5$L)'
        END,
        parent || to_char(day, '_YYYYMMDD'), starts, ends,
        (extract(epoch FROM starts) * 1000)::bigint << 21, (extract(epoch FROM ends) * 1000)::bigint << 21
    );
END
$$;

-- Takes a day's partitions out of the log and drops them, if they hold just the entries
-- that its file holds. Whoever writes to that day waits for the count, the others only for
-- the last step; lock_timeout bounds how long they wait before it.
CREATE FUNCTION drop_archived_day(archived date) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    entries_of_day text := to_char(archived, '"entries_"YYYYMMDD');
    batches_of_day text := to_char(archived, '"batches_"YYYYMMDD');
    n bigint;
BEGIN
    EXECUTE format('LOCK TABLE %I, %I IN SHARE MODE', batches_of_day, entries_of_day);
    EXECUTE format('SELECT count(*) FROM %I', entries_of_day) INTO n;
    IF n IS DISTINCT FROM (SELECT a.entries FROM archived_days AS a WHERE a.day = archived AND a.expired_at IS NULL) THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT count(*) FROM %I AS b WHERE NOT EXISTS (SELECT FROM seals AS s WHERE s.batch = b.batch)', batches_of_day) INTO n;
    IF n > 0 THEN
        RETURN false;
    END IF;
    LOCK TABLE batches, entries IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE batches DETACH PARTITION %I', batches_of_day);
    EXECUTE format('ALTER TABLE entries DETACH PARTITION %I', entries_of_day);
    EXECUTE format('DROP TABLE %I, %I', batches_of_day, entries_of_day);
    RETURN true;
END
$$;

-- Has the rollups counted anew, while all goes on, from the first day that is not archived:
-- what is archived cannot be counted here again, so its counts stay.
CREATE FUNCTION recount_rollups() RETURNS void
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

-- migrate:down
DROP FUNCTION recount_rollups, drop_archived_day, attach_partition, move_default_rows, default_rows;
DROP TABLE legal_holds, archived_days;

-- name: draw_worker_number
-- Which number does this worker put into its batches? Once a start; no index.
SELECT nextval('worker_numbers')::integer;

-- name: append
-- Makes one flush durable: its batch and its entries in one statement, so that one
-- round trip carries begin, both inserts and commit.
WITH batch AS (
    INSERT INTO batches (batch, entries, digest, digest_key)
    VALUES ($1, $2, $3, $4)
)
INSERT INTO entries (
    batch, position, at, actor, outcome, address, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
)
SELECT
    $1, position, at, actor, outcome, address::inet, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
FROM unnest($5::entry_row[]);

-- name: append_remembering
-- The same, and which idempotency keys these entries answered: both, or neither.
WITH batch AS (
    INSERT INTO batches (batch, entries, digest, digest_key)
    VALUES ($1, $2, $3, $4)
), remembered AS (
    INSERT INTO idempotency_answers (batch, position, institution, key_digest, body_digest)
    SELECT $1, * FROM unnest($6::smallint[], $7::integer[], $8::bytea[], $9::bytea[])
)
INSERT INTO entries (
    batch, position, at, actor, outcome, address, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
)
SELECT
    $1, position, at, actor, outcome, address::inet, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
FROM unnest($5::entry_row[]);

-- name: append_further
-- Further entries of a batch that has many, in the transaction of its first.
INSERT INTO entries (
    batch, position, at, actor, outcome, address, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
)
SELECT
    $1, position, at, actor, outcome, address::inet, operation, institution, key, purpose,
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, replay_of
FROM unnest($2::entry_row[]);

-- name: claim_keys
-- Which of these idempotency keys is nobody at? Takes those for ten seconds. By the primary
-- key; in its order, so that those who claim the same keys never wait for each other in a ring.
INSERT INTO idempotency_claims AS held (institution, key_digest, body_digest, until)
SELECT institution, key_digest, body_digest, statement_timestamp() + interval '10 seconds'
FROM unnest($1::integer[], $2::bytea[], $3::bytea[]) AS asked (institution, key_digest, body_digest)
ORDER BY institution, key_digest
ON CONFLICT (institution, key_digest) DO UPDATE SET body_digest = excluded.body_digest, until = excluded.until
WHERE held.until <= statement_timestamp()
RETURNING institution, key_digest, until;

-- name: recall_keys
-- Which entries of the last 24 hours answered these idempotency keys, and who is at them, for
-- how many seconds yet? By the primary keys.
SELECT institution, key_digest, a.body_digest, a.batch, a.position, NULL::integer AS seconds
FROM unnest($1::integer[], $2::bytea[]) AS asked (institution, key_digest)
JOIN idempotency_answers AS a USING (institution, key_digest)
WHERE a.batch >= ((extract(epoch FROM statement_timestamp()) * 1000)::bigint - 24 * 3600 * 1000) << 21
UNION ALL
SELECT
    institution, key_digest, c.body_digest, NULL, NULL,
    greatest(1, ceil(extract(epoch FROM c.until - statement_timestamp())))::integer
FROM unnest($1::integer[], $2::bytea[]) AS asked (institution, key_digest)
JOIN idempotency_claims AS c USING (institution, key_digest);

-- name: release_claims
-- Gives up these claims, unless they ran out and are others' by now. By the primary key, in
-- its order (see claim_keys).
DELETE FROM idempotency_claims WHERE ctid = ANY (ARRAY(
    SELECT c.ctid
    FROM unnest($1::integer[], $2::bytea[], $3::timestamptz[]) AS given (institution, key_digest, until)
    JOIN idempotency_claims AS c USING (institution, key_digest, until)
    ORDER BY institution, key_digest
    FOR UPDATE OF c
));

-- name: forget_keys
-- How many idempotency keys, at most $1 of each kind, were due to be forgotten, and now are?
SELECT forget_idempotency_keys($1);

-- name: create_partitions
-- Are there partitions for the days ahead? Makes those that are missing.
SELECT create_partitions(7);

-- name: extent
-- From when to when does the log reach? By the primary keys of the outermost partitions.
SELECT min(batch) AS oldest, max(batch) AS newest FROM batches;

-- name: entry_at
-- Which entry has this place? By entries_by_place, in the partitions around $3.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, abbrev(e.address) AS address, e.operation, e.institution,
    e.key, k.id AS key_id, e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.replay_of, s.first_leaf + e.position AS leaf_index
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
LEFT JOIN seals AS s ON s.batch = e.batch
WHERE e.batch = $1 AND e.position = $2
    AND e.at > $3::timestamptz - interval '1 minute' AND e.at <= $3::timestamptz + interval '2 milliseconds';

-- name: page
-- The newest entries below a place in (at, batch, position) and within a span that match
-- what is given. By entries_about_a_subject, by entries_of_an_institution once `page_reach` has
-- said how far back to look, of what is seldom by entries_of_no_institution,
-- entries_of_other_operations or entries_that_failed, else by entries_by_place, widening the
-- span step by step.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, abbrev(e.address) AS address, e.operation, e.institution,
    e.key, k.id AS key_id, e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.replay_of, s.first_leaf + e.position AS leaf_index
FROM (
    SELECT * FROM entries
    WHERE at >= $1 AND at < $2 AND (at, batch, position) < ($3, $4, $5)
    /* and what is asked for */
    ORDER BY at DESC, batch DESC, position DESC
    LIMIT $6
) AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
LEFT JOIN seals AS s ON s.batch = e.batch
ORDER BY e.at DESC, e.batch DESC, e.position DESC;

-- name: page_reach
-- Since when, at the latest, do as many of an institution's entries come as a page takes?
-- They are taken in the order of their batches' eight seconds, which is nearly that of
-- their instants: so the page has none that is older. By entries_of_an_institution.
SELECT min(at)
FROM (
    SELECT at FROM entries
    WHERE at >= $1 AND at < $2 AND (at, batch, position) < ($3, $4, $5)
    /* and what is asked for */
    ORDER BY (batch >> 34)::integer DESC
    LIMIT $6
) AS newest;

-- name: try_to_be_the_sealer
-- Is there no other? Held by the session until it ends, however it ends.
SELECT pg_try_advisory_lock(7305127);

-- name: summarize_entries
-- Which pages hold which batches? So that what was just written is found by its index.
SELECT summarize_entries();

-- name: newest_sealed
-- Up to which batch has been sealed, give or take what commits late? By seals_batch_key.
SELECT max(batch) FROM seals;

-- name: new_batches
-- Which are the committed batches above $1: the first $3, within $2 of the first? By the primary
-- key. Above the newest sealed one none is sealed.
WITH next AS (
    SELECT min(batch) AS batch FROM batches WHERE batch > $1
)
SELECT batch, entries, digest, digest_key
FROM batches
WHERE batch >= (SELECT batch FROM next) AND batch <= (SELECT batch FROM next) + $2::bigint
ORDER BY batch
LIMIT $3;

-- name: late_batches
-- Which committed batches above $1, up to $2, have no leaf numbers: the first $3? By both primary
-- keys; OFFSET 0 as in leaves_of_entries.
SELECT b.batch, b.entries, b.digest, b.digest_key
FROM batches AS b
LEFT JOIN LATERAL (SELECT true AS sealed FROM seals WHERE batch = b.batch OFFSET 0) AS s ON true
WHERE b.batch > $1 AND b.batch <= $2 AND s.sealed IS NULL
ORDER BY b.batch
LIMIT $3;

-- name: first_batch_above
-- Which is the first committed batch above $1? By the primary key.
SELECT min(batch) FROM batches WHERE batch > $1;

-- name: entries_of_batches
-- The entries of batches between two numbers. By entries_by_place.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, abbrev(e.address) AS address, e.operation, e.institution,
    e.key, k.id AS key_id, e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.replay_of
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
WHERE e.batch BETWEEN $1 AND $2 AND e.at BETWEEN $3 AND $4
ORDER BY e.batch, e.position;

-- name: insert_seals
-- Gives batches their leaf numbers.
INSERT INTO seals (first_leaf, batch, leaves)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]);

-- name: insert_nodes
-- Keeps the subtrees that these leaves completed.
INSERT INTO nodes (level, index, hash)
SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]);

-- name: insert_checkpoint
-- The log has a new head.
INSERT INTO checkpoints (size, root, note) VALUES ($1, $2, $3);

-- name: newest_checkpoint
-- What is the head of the log, and which witnesses have cosigned it? By the primary keys.
SELECT
    c.size, c.root,
    c.note || coalesce(
        (SELECT string_agg(o.line || E'\n', '' ORDER BY o.witness) FROM cosignatures AS o WHERE o.size = c.size), ''
    ) AS note
FROM checkpoints AS c
ORDER BY c.size DESC
LIMIT 1;

-- name: newest_cosigned
-- Which is the newest head that $1 witnesses at least have cosigned, among the last
-- 10,000 cosignatures? By the primary keys.
SELECT
    c.size, c.root,
    c.note || (SELECT string_agg(o.line || E'\n', '' ORDER BY o.witness) FROM cosignatures AS o WHERE o.size = c.size)
    AS note
FROM checkpoints AS c
WHERE c.size = (
    SELECT recent.size
    FROM (SELECT size FROM cosignatures ORDER BY size DESC LIMIT 10000) AS recent
    GROUP BY recent.size
    HAVING count(*) >= $1
    ORDER BY recent.size DESC
    LIMIT 1
);

-- name: cosigned_above
-- Which is the newest head above size $1 that any witness has cosigned? By the primary keys.
SELECT c.size, c.root, c.note
FROM checkpoints AS c
WHERE c.size = (SELECT max(size) FROM cosignatures WHERE size > $1);

-- name: newest_cosignatures
-- What has each witness cosigned last, among the last 10,000 cosignatures? By the primary key.
SELECT DISTINCT ON (recent.witness) recent.witness, recent.size, recent.kept_at
FROM (SELECT witness, size, kept_at FROM cosignatures ORDER BY size DESC LIMIT 10000) AS recent
ORDER BY recent.witness, recent.size DESC;

-- name: sealing
-- How far is the log sealed, and what waits above the newest sealed batch: of $1 batches
-- at most, how many there are, their entries and the seconds that the oldest has waited?
-- By the primary keys.
WITH waiting AS (
    SELECT batch, entries
    FROM batches
    WHERE batch > coalesce((SELECT max(batch) FROM seals), 0)
    ORDER BY batch
    LIMIT $1
)
SELECT head.size, head.sealed_at, behind.batches, behind.entries, behind.lag
FROM (
    SELECT
        count(*) AS batches, coalesce(sum(entries), 0)::bigint AS entries,
        coalesce(extract(epoch FROM clock_timestamp()) - (min(batch) >> 21) / 1000.0, 0)::float8 AS lag
    FROM waiting
) AS behind
LEFT JOIN (SELECT size, sealed_at FROM checkpoints ORDER BY size DESC LIMIT 1) AS head ON true;

-- name: try_to_be_the_courier
-- Does no other process carry to this witness? Held by the session until it ends.
SELECT pg_try_advisory_lock(7305128, hashtext($1));

-- name: insert_cosignature
-- Keeps a witness's cosignature of a checkpoint; one it gave before stays.
INSERT INTO cosignatures (size, witness, line) VALUES ($1, $2, $3)
ON CONFLICT (size, witness) DO NOTHING;

-- name: find_nodes
-- The hashes of these subtrees. By the primary key.
SELECT n.level, n.index, n.hash
FROM unnest($1::smallint[], $2::bigint[]) AS asked (level, index)
JOIN nodes AS n ON n.level = asked.level AND n.index = asked.index;

-- name: find_leaves
-- The leaf hashes from $1 to $2 (exclusive), in whole batches. By the primary key.
SELECT first_leaf, batch, leaves
FROM seals
WHERE first_leaf >= coalesce((SELECT max(first_leaf) FROM seals WHERE first_leaf <= $1), 0)
    AND first_leaf < $2
ORDER BY first_leaf;

-- name: sealed_extent
-- From which batch to which is the log sealed? By seals_batch_key.
SELECT min(batch) AS oldest, max(batch) AS newest FROM seals;

-- name: leaves_of_batches
-- Which leaves have the sealed batches from $1 to $2 (exclusive)? By seals_batch_key.
SELECT min(first_leaf) AS first, max(first_leaf + octet_length(leaves) / 32) AS past
FROM seals
WHERE batch >= $1 AND batch < $2;

-- name: leaves_of_entries
-- Which leaves have the sealed entries from $3 to $4 (exclusive) in batches from $1 to $2
-- (exclusive), and are the entries of these batches all there? By seals_batch_key and
-- entries_by_place; $5 and $6 are where such batches' entries lie. OFFSET 0 keeps the planner from
-- going through the entries anew for each batch wherever it takes them for none.
SELECT
    min(s.first_leaf + e.position) FILTER (WHERE e.at >= $3 AND e.at < $4) AS first,
    max(s.first_leaf + e.position + 1) FILTER (WHERE e.at >= $3 AND e.at < $4) AS past,
    count(*) = coalesce((SELECT sum(octet_length(leaves) / 32) FROM seals WHERE batch >= $1 AND batch < $2), 0)
    AS complete
FROM entries AS e
CROSS JOIN LATERAL (
    SELECT first_leaf FROM seals WHERE batch = e.batch AND octet_length(leaves) / 32 > e.position OFFSET 0
) AS s
WHERE e.batch >= $1 AND e.batch < $2 AND e.at >= $5 AND e.at <= $6;

-- name: entries_of_named_batches
-- The entries of the batches in $5, all between $1 and $2. By entries_by_place.
-- IS TRUE keeps the planner from a join, for which it would go through the batches anew for each
-- entry wherever it takes a day that grew since its statistics for empty.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, abbrev(e.address) AS address, e.operation, e.institution,
    e.key, k.id AS key_id, e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.replay_of
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
WHERE e.batch BETWEEN $1 AND $2 AND e.at BETWEEN $3 AND $4 AND (e.batch IN (SELECT unnest($5::bigint[]))) IS TRUE
ORDER BY e.batch, e.position;

-- name: sealing_lag
-- For how many seconds has the oldest batch above the newest sealed waited? By primary keys.
SELECT (extract(epoch FROM clock_timestamp()) - (min(batch) >> 21) / 1000.0)::float8
FROM batches
WHERE batch > coalesce((SELECT max(batch) FROM seals), 0);

-- name: hold_rollups
-- How far do the rollups reach? Held until the transaction ends. One row.
SELECT below FROM rolled_up FOR UPDATE;

-- name: sealed_from
-- The next $2 sealed batches from leaf $1 on. By the primary key.
SELECT first_leaf, batch FROM seals WHERE first_leaf >= $1 ORDER BY first_leaf LIMIT $2;

-- name: roll_up
-- Counts the batches in $1, all between $2 and $3 and their entries between $4 and $5,
-- into their hours and days, these also by one thing each, and notes when keys were used: not those that did not prove
-- who they were (reason 1). By entries_by_place. Units are charged as entry.py says. IS TRUE as
-- in entries_of_named_batches.
WITH keyed AS (
    SELECT
        date_trunc('hour', e.at, 'UTC') AS since, nullif(e.institution, 0) AS institution,
        nullif(e.purpose, 0) AS purpose, e.outcome::integer AS outcome, e.key,
        sum(CASE e.subject_key WHEN 0 THEN e.subject_tail ELSE 1 END) AS entries,
        count(*) FILTER (WHERE e.outcome::integer IN (1, 2, 3, 4) AND e.replay_of = '') AS charged,
        max(e.at) FILTER (WHERE e.key <> 0 AND e.reason::integer <> 1) AS used_at
    FROM entries AS e
    WHERE e.batch BETWEEN $2 AND $3 AND e.at BETWEEN $4 AND $5 AND (e.batch IN (SELECT unnest($1::bigint[]))) IS TRUE
    GROUP BY 1, 2, 3, 4, 5
), used AS (
    INSERT INTO key_uses AS u (key, last_used_at)
    SELECT key, max(used_at) FROM keyed WHERE used_at IS NOT NULL GROUP BY key
    -- Only once a minute, or each key would be written at every step.
    ON CONFLICT (key) DO UPDATE SET last_used_at = excluded.last_used_at
    WHERE excluded.last_used_at >= u.last_used_at + interval '1 minute'
), hourly AS (
    SELECT since, institution, purpose, outcome, sum(entries) AS entries, sum(charged) AS charged
    FROM keyed
    GROUP BY 1, 2, 3, 4
), summed AS (
    INSERT INTO sums_of_days AS d (since, by, key, entries, charged, refused)
    SELECT
        date_trunc('day', h.since, 'Asia/Jakarta'), one.by, one.key, sum(h.entries), sum(h.charged),
        coalesce(sum(h.entries) FILTER (WHERE h.outcome = 5), 0)
    FROM hourly AS h
    CROSS JOIN LATERAL (
        VALUES ('institution', h.institution), ('outcome', h.outcome), ('purpose', h.purpose)
    ) AS one (by, key)
    GROUP BY 1, 2, 3
    ON CONFLICT (by, since, key) DO UPDATE SET
        entries = d.entries + excluded.entries,
        charged = d.charged + excluded.charged,
        refused = d.refused + excluded.refused
)
INSERT INTO rollups AS r (hours, since, institution, purpose, outcome, entries, charged)
SELECT 1, since, institution, purpose, outcome, entries, charged FROM hourly
UNION ALL
SELECT 24, date_trunc('day', since, 'Asia/Jakarta'), institution, purpose, outcome, sum(entries), sum(charged)
FROM hourly
GROUP BY 2, 3, 4, 5
ON CONFLICT (hours, since, institution, outcome, purpose)
DO UPDATE SET entries = r.entries + excluded.entries, charged = r.charged + excluded.charged;

-- name: rolled_up_to
-- The rollups hold every sealed batch whose first leaf is below $1.
UPDATE rolled_up SET below = $1;

-- name: reach
-- Up to which leaf reach the rollups, and to which batch the seals? By their unique keys.
SELECT below, (SELECT max(batch) FROM seals) AS newest FROM rolled_up;

-- name: count_days
-- What the sums of days from $2 to $3 (exclusive) hold, by $1; days by any of them. By
-- a_day_is_summed_once.
SELECT
    CASE $1::text WHEN 'day' THEN (since AT TIME ZONE 'Asia/Jakarta')::date - date '1970-01-01' ELSE key END AS key,
    sum(entries)::bigint AS entries,
    sum(charged)::bigint AS charged,
    sum(refused)::bigint AS refused
FROM sums_of_days
WHERE since >= $2 AND since < $3 AND by = CASE $1::text WHEN 'day' THEN 'outcome' ELSE $1::text END
GROUP BY 1;

-- name: count_hours
-- What the rollups of hours from $2 to $3 (exclusive) hold, by $1. By a_span_is_counted_once.
SELECT
    CASE $1::text
        WHEN 'institution' THEN institution
        WHEN 'day' THEN (since AT TIME ZONE 'Asia/Jakarta')::date - date '1970-01-01'
        WHEN 'outcome' THEN outcome
        WHEN 'purpose' THEN purpose
    END AS key,
    sum(entries)::bigint AS entries,
    sum(charged)::bigint AS charged,
    coalesce(sum(entries) FILTER (WHERE outcome = 5), 0)::bigint AS refused
FROM rollups
WHERE since >= $2 AND since < $3 AND hours = 1
GROUP BY 1;

-- name: count_span
-- What the entries from $2 to $3 (exclusive) come to, by $1. By entries_by_place.
SELECT
    CASE $1::text
        WHEN 'institution' THEN nullif(institution, 0)
        WHEN 'day' THEN (at AT TIME ZONE 'Asia/Jakarta')::date - date '1970-01-01'
        WHEN 'outcome' THEN outcome::integer
        WHEN 'purpose' THEN nullif(purpose, 0)
    END AS key,
    sum(CASE subject_key WHEN 0 THEN subject_tail ELSE 1 END)::bigint AS entries,
    count(*) FILTER (WHERE outcome::integer IN (1, 2, 3, 4) AND replay_of = '') AS charged,
    coalesce(
        sum(CASE subject_key WHEN 0 THEN subject_tail ELSE 1 END) FILTER (WHERE outcome::integer = 5), 0
    )::bigint AS refused
FROM entries
WHERE at >= $2 AND at < $3
GROUP BY 1;

-- name: count_batches
-- The same for the batches in $4 alone, all between $5 and $6. By entries_by_place. IS TRUE as in
-- entries_of_named_batches.
SELECT
    CASE $1::text
        WHEN 'institution' THEN nullif(e.institution, 0)
        WHEN 'day' THEN (e.at AT TIME ZONE 'Asia/Jakarta')::date - date '1970-01-01'
        WHEN 'outcome' THEN e.outcome::integer
        WHEN 'purpose' THEN nullif(e.purpose, 0)
    END AS key,
    sum(CASE e.subject_key WHEN 0 THEN e.subject_tail ELSE 1 END)::bigint AS entries,
    count(*) FILTER (WHERE e.outcome::integer IN (1, 2, 3, 4) AND e.replay_of = '') AS charged,
    coalesce(
        sum(CASE e.subject_key WHEN 0 THEN e.subject_tail ELSE 1 END) FILTER (WHERE e.outcome::integer = 5), 0
    )::bigint AS refused
FROM entries AS e
WHERE e.at >= $2 AND e.at < $3 AND e.batch BETWEEN $5 AND $6 AND (e.batch IN (SELECT unnest($4::bigint[]))) IS TRUE
GROUP BY 1;

-- name: read_in_index_order
-- Until the transaction ends, what an index has in order is not read whole and sorted: that is
-- what the planner chooses for `admissions` where it takes a busy day for a few rows.
SELECT set_config('enable_sort', 'off', true);

-- name: admissions
-- What did an institution ask that reached admission, between two eights of seconds and two
-- instants: the first $6, and all of the last one's eight seconds? Answers and `done`, refusals
-- for the quota, and a receipt's not-found. In the order of entries_of_an_institution.
SELECT
    (batch >> 34)::integer AS eighth, at,
    (replay_of = '' AND outcome::integer <> 7 AND operation::integer NOT IN (3, 4))::integer AS units,
    CASE subject_key WHEN 0 THEN subject_tail ELSE 1 END AS times
FROM entries
WHERE institution <> 0 AND institution = $1 AND (batch >> 34)::integer BETWEEN $2 AND $3
    AND at >= $4 AND at < $5
    AND (
        outcome::integer IN (1, 2, 3, 4, 7)
        OR (outcome::integer = 5 AND (reason::integer = 9 OR (reason::integer = 14 AND operation::integer = 4)))
    )
ORDER BY (batch >> 34)::integer
FETCH FIRST $6 ROWS WITH TIES;

-- name: units_charged
-- How many units of quota did an institution keep, between two eights of seconds and two
-- instants? Units are charged as entry.py says. By entries_of_an_institution.
SELECT count(*) FROM entries
WHERE institution <> 0 AND institution = $1 AND (batch >> 34)::integer BETWEEN $2 AND $3
    AND at >= $4 AND at < $5 AND outcome::integer IN (1, 2, 3, 4) AND replay_of = '';

-- name: purpose_names
-- What are the purposes called? All of a few rows.
SELECT number, name FROM purposes;

-- name: act_for_institution
-- Until the transaction ends, the log shows the receipts' role this institution's entries.
SELECT set_config('gateway.institution', $1, true);

-- name: partitions
-- Which days have partitions, with how many entries (as statistics know) and bytes with
-- indexes? Of the catalogue alone, so every role may ask; the defaults have no day.
SELECT
    CASE WHEN c.relname ~ '_[0-9]{8}$' THEN to_date(right(c.relname, 8), 'YYYYMMDD') END AS day,
    coalesce(sum(greatest(c.reltuples, 0)) FILTER (WHERE i.inhparent = 'entries'::regclass), 0)::bigint AS entries,
    sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent IN ('entries'::regclass, 'batches'::regclass)
GROUP BY 1
ORDER BY 1;

-- name: days_ahead
-- For how many days in a row, from tomorrow in Asia/Jakarta on, do both tables have
-- partitions? Of the catalogue alone.
SELECT count(*) FROM (
    SELECT day - (clock_timestamp() AT TIME ZONE 'Asia/Jakarta')::date AS ahead, row_number() OVER (ORDER BY day) AS place
    FROM (
        SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits AS i
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent IN ('entries'::regclass, 'batches'::regclass) AND c.relname ~ '_[0-9]{8}$'
        GROUP BY 1
        HAVING count(*) = 2
    ) AS whole
    WHERE day > (clock_timestamp() AT TIME ZONE 'Asia/Jakarta')::date
) AS to_come
WHERE ahead = place;

-- name: database_bytes
-- How large is the database on its server's disk? By the lengths of its files.
SELECT pg_database_size(current_database());

-- name: default_rows
-- How many rows has no partition taken (none above ten thousand is counted)?
SELECT default_rows();

-- name: move_default_rows
-- Moves what lies in the default partition of $1 to partitions of its days.
SELECT move_default_rows($1);

-- name: archived_days
-- Which of the days from number $1 to $2 (inclusive, of 1970) are archived, newest first? All
-- of a few thousand rows.
SELECT day, file, bytes, entries, lowest_leaf, highest_leaf, expired_at IS NOT NULL AS expired
FROM archived_days
WHERE day - date '1970-01-01' BETWEEN $1 AND $2
ORDER BY day DESC;

-- name: archived_days_of_leaves
-- Which archived days hold leaves from $1 to $2 (exclusive)? All of a few thousand rows.
SELECT day, file, bytes, entries, lowest_leaf, highest_leaf, expired_at IS NOT NULL AS expired
FROM archived_days
WHERE lowest_leaf < $2 AND highest_leaf >= $1
ORDER BY day DESC;

-- name: sealed_hashes
-- The hashes of these leaves. By the primary key.
SELECT
    asked.leaf,
    substring(s.leaves FROM ((asked.leaf - s.first_leaf) * 32 + 1)::integer FOR 32) AS hash
FROM unnest($1::bigint[]) AS asked (leaf)
CROSS JOIN LATERAL (SELECT * FROM seals WHERE first_leaf <= asked.leaf ORDER BY first_leaf DESC LIMIT 1) AS s;

-- name: leaf_at
-- Which leaf has position $2 of batch $1? By seals_batch_key.
SELECT first_leaf + $2::smallint FROM seals WHERE batch = $1 AND octet_length(leaves) / 32 > $2::smallint;

-- name: key_id
-- What is the id of key number $1? By its unique key.
SELECT id FROM keys WHERE number = $1;

-- name: sealed_batches
-- The next $3 sealed batches from $1 to $2 (exclusive), with their leaves. By seals_batch_key.
SELECT batch, first_leaf, leaves FROM seals WHERE batch >= $1 AND batch < $2 ORDER BY batch LIMIT $3;

-- name: unsealed_between
-- How many batches from $1 to $2 (exclusive) have no leaf numbers? By the primary keys.
SELECT count(*)
FROM batches AS b
WHERE b.batch >= $1 AND b.batch < $2
    AND NOT EXISTS (SELECT FROM seals AS s WHERE s.batch = b.batch AND s.batch >= $1 AND s.batch < $2);

-- name: places_of_leaves
-- Which leaves have the entries of sealed batches from $1 to $2 (exclusive), and when were
-- they? All between $3 and $4. By seals_batch_key and entries_by_place; OFFSET 0 as in
-- leaves_of_entries.
SELECT s.first_leaf + e.position AS leaf, e.at
FROM entries AS e
CROSS JOIN LATERAL (
    SELECT first_leaf FROM seals WHERE batch = e.batch AND octet_length(leaves) / 32 > e.position OFFSET 0
) AS s
WHERE e.batch >= $1 AND e.batch < $2 AND e.at >= $3 AND e.at <= $4;

-- name: leaves_of_span
-- Which leaves have the entries from $1 to $2 (exclusive)? By entries_by_place and
-- seals_batch_key; OFFSET 0 as in leaves_of_entries.
SELECT s.first_leaf + e.position AS leaf
FROM entries AS e
CROSS JOIN LATERAL (SELECT first_leaf FROM seals WHERE batch = e.batch OFFSET 0) AS s
WHERE e.at >= $1 AND e.at < $2;

-- name: is_rolled_up
-- Do the rollups hold every sealed batch from $1 to $2 (exclusive)? By seals_batch_key.
SELECT NOT EXISTS (
    SELECT FROM seals WHERE batch >= $1 AND batch < $2 AND first_leaf >= (SELECT below FROM rolled_up)
);

-- name: count_entries
-- How many entries are there from $1 to $2 (exclusive)? The whole of a day's partition.
SELECT count(*) FROM entries WHERE at >= $1 AND at < $2;

-- name: try_to_be_the_archiver
-- Is nobody archiving or expiring? Held by the session until it ends, however it ends.
SELECT pg_try_advisory_lock(7305129);

-- name: record_archived_day
-- The day's file holds its entries: it has been read back. A day recorded before, whose
-- partition is still there, is recorded anew.
INSERT INTO archived_days (day, file, sha256, bytes, entries, lowest_leaf, highest_leaf)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (day) DO UPDATE SET
    file = excluded.file, sha256 = excluded.sha256, bytes = excluded.bytes, entries = excluded.entries,
    lowest_leaf = excluded.lowest_leaf, highest_leaf = excluded.highest_leaf, archived_at = excluded.archived_at;

-- name: archived_day
-- What is recorded of day $1? By the primary key.
SELECT day, file, bytes, entries, lowest_leaf, highest_leaf, expired_at IS NOT NULL AS expired, sha256
FROM archived_days
WHERE day = $1;

-- name: drop_archived_day
-- Drops the partitions of day $1, if they hold what its file holds; else false.
SELECT drop_archived_day($1);

-- name: hold_days
-- Places a hold on days $1 to $2, both inclusive.
INSERT INTO legal_holds (first_day, last_day, reason) VALUES ($1, $2, $3) RETURNING id;

-- name: release_hold
-- Releases hold $1, if it is in force.
UPDATE legal_holds SET released_at = clock_timestamp() WHERE id = $1 AND released_at IS NULL RETURNING id;

-- name: holds
-- Which holds are in force? All of a few rows.
SELECT id, first_day, last_day, reason FROM legal_holds WHERE released_at IS NULL ORDER BY id;

-- name: lock_holds
-- Until the transaction ends, no hold is placed.
LOCK TABLE legal_holds IN SHARE MODE;

-- name: expire_day
-- Day $1 is kept no longer, if no hold forbids it.
UPDATE archived_days SET expired_at = clock_timestamp()
WHERE day = $1 AND expired_at IS NULL
    AND NOT EXISTS (SELECT FROM legal_holds WHERE released_at IS NULL AND $1 BETWEEN first_day AND last_day)
RETURNING day;

-- name: untidied
-- Which days' partitions of entries and batches, over for an hour, have not been tidied? A
-- few rows of the catalogue; names are quoted as SQL needs them.
SELECT i.inhrelid::regclass::text AS partition
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent IN ('entries'::regclass, 'batches'::regclass)
    AND c.relname ~ '^(entries|batches)_[0-9]{8}$'
    AND (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'Asia/Jakarta'
    < clock_timestamp() - interval '1 hour'
    AND obj_description(c.oid, 'pg_class') IS DISTINCT FROM $1
ORDER BY right(c.relname, 8), c.relname;

-- name: btrees_of
-- The B-trees of a partition, those of an interrupted rebuild first. From the catalogue.
SELECT x.indexrelid::regclass::text AS index, NOT x.indisvalid AS abandoned
FROM pg_index AS x
JOIN pg_class AS c ON c.oid = x.indexrelid
JOIN pg_am AS a ON a.oid = c.relam
WHERE x.indrelid = $1::text::regclass AND a.amname = 'btree'
ORDER BY x.indisvalid, x.indexrelid;

-- name: charged_days
-- What were the institutions in $1 charged in the days that began at $2, and in the one that
-- began at $3, as far as that is summed? By a_day_is_summed_once.
SELECT
    key AS institution, coalesce(sum(charged) FILTER (WHERE since = $3), 0)::bigint AS day,
    sum(charged)::bigint AS month
FROM sums_of_days
WHERE by = 'institution' AND since = ANY($2::timestamptz[]) AND key = ANY($1::integer[])
GROUP BY key;

-- name: charged_in_batches
-- The same for the batches in $2 alone, all between $3 and $4, from $5 to $6 (exclusive);
-- the day began at $7. By entries_by_place. IS TRUE as in entries_of_named_batches.
SELECT e.institution, count(*) FILTER (WHERE e.at >= $7) AS day, count(*) AS month
FROM entries AS e
WHERE e.batch BETWEEN $3 AND $4 AND e.at >= $5 AND e.at < $6 AND e.institution = ANY($1::integer[])
    AND (e.batch IN (SELECT unnest($2::bigint[]))) IS TRUE
    AND e.outcome::integer IN (1, 2, 3, 4) AND e.replay_of = ''
GROUP BY e.institution;

-- name: held_by_jobs
-- What do jobs of the institutions in $1 hold, in the month that began at $2 and the day that
-- began at $3? There are few jobs.
SELECT
    institution, coalesce(sum(reserved) FILTER (WHERE reserved_at >= $3), 0)::bigint AS day,
    sum(reserved)::bigint AS month
FROM jobs
WHERE reserved > 0 AND reserved_at >= $2 AND institution = ANY($1::integer[])
GROUP BY institution;

-- name: read_by_trees
-- Until the transaction ends, rows are found by B-trees alone: for an institution's last calls the
-- planner would go through what entries_by_place knows of a day, for each institution.
SELECT set_config('enable_bitmapscan', 'off', true);

-- name: arrivals
-- When are the calls of the institutions in $1 paid for that came since $3 (in batches from
-- $4), if a unit of rate comes back every $2 microseconds? That is GCRA: of every call, its
-- instant and one unit for it and each that came after it; the latest. $5 is the earliest of
-- $3. Answered calls cost rate, and so does asking for what is not there. By
-- entries_of_an_institution.
SELECT asked.institution, count(*) AS calls, max(arrived.at + asked.step * arrived.rank)::bigint AS tat
FROM unnest($1::integer[], $2::bigint[], $3::timestamptz[], $4::integer[]) AS asked (institution, step, since, span)
CROSS JOIN LATERAL (
    SELECT (extract(epoch FROM e.at) * 1000000)::bigint AS at, row_number() OVER (ORDER BY e.at DESC) AS rank
    FROM entries AS e
    WHERE e.institution <> 0 AND e.institution = asked.institution AND (e.batch >> 34)::integer >= asked.span
        AND e.at >= asked.since AND e.at >= $5
        AND (e.outcome::integer IN (1, 2, 3, 4, 7) OR e.reason::integer = 14)
) AS arrived
GROUP BY asked.institution;

-- name: is_approved
-- Has somebody else approved that this auditor, $1, looks at the subject with one of these
-- references, within the last $5? By subject_approvals_asked.
SELECT EXISTS (
    SELECT FROM subject_approvals AS held
    JOIN unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS asked (key, head, tail)
        ON held.subject_key = asked.key AND held.subject_head = asked.head AND held.subject_tail = asked.tail
    WHERE held.asked_by = $1 AND held.approved_at > clock_timestamp() - $5::interval
);

-- name: file_approval
-- This auditor, $1, waits for somebody to approve a search, once a day for each subject; what
-- is older than $6 goes meanwhile. By subject_approvals_asked and _by_time.
WITH gone AS (
    DELETE FROM subject_approvals WHERE asked_at < clock_timestamp() - $6::interval
)
INSERT INTO subject_approvals (asked_by, subject_key, subject_head, subject_tail, reason)
SELECT $1, $2, $3, $4, $5
WHERE NOT EXISTS (
    SELECT FROM subject_approvals
    WHERE asked_by = $1 AND subject_head = $3 AND subject_tail = $4 AND approved_at IS NULL
        AND asked_at > clock_timestamp() - interval '1 day'
);

-- name: recent_approvals
-- Which searches were filed within the last $1, the newest first, at most $2? By
-- subject_approvals_by_time.
SELECT held.id, held.asked_by, asker.name AS asker, held.asked_at, held.reason, approver.name AS approver, held.approved_at
FROM subject_approvals AS held
JOIN staff AS asker ON asker.id = held.asked_by
LEFT JOIN staff AS approver ON approver.id = held.approved_by
WHERE held.asked_at > clock_timestamp() - $1::interval
ORDER BY held.asked_at DESC
LIMIT $2;

-- name: approve_search
-- $2 approves the search $1 of somebody else, filed within the last $3; gives its reason.
UPDATE subject_approvals SET approved_by = $2, approved_at = clock_timestamp()
WHERE id = $1 AND asked_by <> $2 AND approved_at IS NULL AND asked_at > clock_timestamp() - $3::interval
RETURNING reason;

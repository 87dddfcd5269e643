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
    fields, subject_head, subject_tail, subject_key, reason, reference, operator, count, replay_of
)
SELECT $1, * FROM unnest(
    $5::smallint[], $6::timestamptz[], $7::smallint[], $8::smallint[], $9::inet[], $10::smallint[],
    $11::integer[], $12::integer[], $13::smallint[], $14::integer[], $15::bigint[], $16::bigint[],
    $17::smallint[], $18::smallint[], $19::text[], $20::text[], $21::integer[], $22::uuid[]
);

-- name: create_partitions
-- Are there partitions for the days ahead? Makes those that are missing.
SELECT create_partitions(7);

-- name: extent
-- From when to when does the log reach? By the primary keys of the outermost partitions.
SELECT min(batch) AS oldest, max(batch) AS newest FROM batches;

-- name: entry_at
-- Which entry has this place? By entries_by_place, in the partitions around $3.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, e.address, e.operation, e.institution, e.key, k.id AS key_id,
    e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.count, e.replay_of
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
WHERE e.batch = $1 AND e.position = $2
    AND e.at > $3::timestamptz - interval '1 minute' AND e.at <= $3::timestamptz + interval '2 milliseconds';

-- name: page
-- The newest entries below a place in (at, batch, position) and within a span that match
-- what is given. One institution or subject: by their indexes. Else by entries_by_place,
-- which is why the span is widened step by step.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, e.address, e.operation, e.institution, e.key, k.id AS key_id,
    e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.count, e.replay_of
FROM (
    SELECT * FROM entries
    WHERE at >= $1 AND at < $2 AND (at, batch, position) < ($3, $4, $5)
    /* and what is asked for */
    ORDER BY at DESC, batch DESC, position DESC
    LIMIT $6
) AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
ORDER BY e.at DESC, e.batch DESC, e.position DESC;

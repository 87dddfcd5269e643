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
    e.reason, e.reference, e.operator, e.count, e.replay_of, s.first_leaf + e.position AS leaf_index
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose
LEFT JOIN seals AS s ON s.batch = e.batch
WHERE e.batch = $1 AND e.position = $2
    AND e.at > $3::timestamptz - interval '1 minute' AND e.at <= $3::timestamptz + interval '2 milliseconds';

-- name: page
-- The newest entries below a place in (at, batch, position) and within a span that match
-- what is given. One institution or subject: by their indexes. Else by entries_by_place,
-- which is why the span is widened step by step.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, e.address, e.operation, e.institution, e.key, k.id AS key_id,
    e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.count, e.replay_of, s.first_leaf + e.position AS leaf_index
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

-- name: try_to_be_the_sealer
-- Is there no other? Held by the session until it ends, however it ends.
SELECT pg_try_advisory_lock(7305127);

-- name: newest_sealed
-- Up to which batch has been sealed, give or take what commits late? By seals_batch_key.
SELECT max(batch) FROM seals;

-- name: unsealed
-- Which committed batches have no leaf numbers yet? By both primary keys, from $1 up.
SELECT b.batch, b.entries, b.digest, b.digest_key
FROM batches AS b
WHERE b.batch > $1 AND NOT EXISTS (SELECT FROM seals AS s WHERE s.batch = b.batch)
ORDER BY b.batch
LIMIT $2;

-- name: entries_of_batches
-- The entries of batches between two numbers. By entries_by_place.
SELECT
    e.batch, e.position, e.at, e.actor, e.outcome, e.address, e.operation, e.institution, e.key, k.id AS key_id,
    e.purpose, p.name AS purpose_name, e.fields, e.subject_head, e.subject_tail, e.subject_key,
    e.reason, e.reference, e.operator, e.count, e.replay_of
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
-- What is the head of the log? By the primary key.
SELECT size, root, note FROM checkpoints ORDER BY size DESC LIMIT 1;

-- name: find_nodes
-- The hashes of these subtrees. By the primary key.
SELECT n.level, n.index, n.hash
FROM unnest($1::smallint[], $2::bigint[]) AS asked (level, index)
JOIN nodes AS n ON n.level = asked.level AND n.index = asked.index;

-- name: find_leaves
-- The leaf hashes from $1 to $2 (exclusive), in whole batches. By the primary key.
SELECT first_leaf, leaves
FROM seals
WHERE first_leaf >= coalesce((SELECT max(first_leaf) FROM seals WHERE first_leaf <= $1), 0)
    AND first_leaf < $2
ORDER BY first_leaf;

-- name: sealing_lag
-- For how many seconds has the oldest batch above the newest sealed waited? By primary keys.
SELECT (extract(epoch FROM clock_timestamp()) - (min(batch) >> 21) / 1000.0)::float8
FROM batches
WHERE batch > coalesce((SELECT max(batch) FROM seals), 0);

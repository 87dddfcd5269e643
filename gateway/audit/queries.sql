-- name: draw_worker_number
-- Which number does this worker put into its batches? Once a start; no index.
SELECT nextval('worker_numbers')::integer;

-- name: server_instant
-- What time is it? Asked only where Redis has not told; microseconds since 1970.
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

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

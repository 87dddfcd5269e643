-- name: write
-- One day's entries as a Parquet file: words, not numbers, and (batch, position, leaf_index)
-- besides, of which access_id is made. By the first bits of the subject, so that "who asked
-- about this person" passes over most of the file; then as sealed, which compresses best.
COPY (
    SELECT
        leaf_index, batch, "position", make_timestamptz("at") AS "at", actor, institution, key, operation, purpose,
        fields, subject_head, subject_tail, subject_key, outcome, reason, reference, operator, address, count, replay_of
    FROM read_ndjson('/dev/stdin', columns = {
        'leaf_index': 'BIGINT', 'batch': 'BIGINT', 'position': 'SMALLINT', 'at': 'BIGINT', 'actor': 'VARCHAR',
        'institution': 'INTEGER', 'key': 'VARCHAR', 'operation': 'VARCHAR', 'purpose': 'VARCHAR', 'fields': 'VARCHAR[]',
        'subject_head': 'BIGINT', 'subject_tail': 'BIGINT', 'subject_key': 'SMALLINT', 'outcome': 'VARCHAR',
        'reason': 'VARCHAR', 'reference': 'VARCHAR', 'operator': 'VARCHAR', 'address': 'VARCHAR', 'count': 'INTEGER',
        'replay_of': 'VARCHAR'
    })
    ORDER BY subject_head >> 58, leaf_index
) TO '/dev/stdout' (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2, ROW_GROUP_SIZE 61440);

-- name: page
-- The newest entries of the files in $1 that match what is asked for, below a place in
-- (at, batch, position) and between two instants.
SELECT
    leaf_index, batch, "position", epoch_us("at"), actor, institution, key, operation, purpose,
    fields, subject_head, subject_tail, subject_key, outcome, reason, reference, operator, address, count, replay_of
FROM read_parquet(?, hive_partitioning = false)
WHERE "at" >= make_timestamptz(?) AND "at" < make_timestamptz(?)
    AND ("at" < make_timestamptz(?) OR ("at" = make_timestamptz(?) AND (batch, "position") < (?, ?)))
    /* and what is asked for */
ORDER BY "at" DESC, batch DESC, "position" DESC
LIMIT ?;

-- name: leaves
-- The entries of the files in $1 that are leaves of these ranges, in leaf order.
SELECT
    leaf_index, batch, "position", epoch_us("at"), actor, institution, key, operation, purpose,
    fields, subject_head, subject_tail, subject_key, outcome, reason, reference, operator, address, count, replay_of
FROM read_parquet(?, hive_partitioning = false)
WHERE false
    /* or leaves of these */
ORDER BY leaf_index;

-- name: count
-- What the entries of the files in $1 from $2 to $3 (exclusive) come to, by $4. Units are
-- charged as entry.py says.
SELECT
    CASE $4::VARCHAR
        WHEN 'institution' THEN institution::VARCHAR
        WHEN 'day' THEN ((epoch_us("at") + 7 * 3600000000) // 86400000000)::VARCHAR
        WHEN 'outcome' THEN outcome
        WHEN 'purpose' THEN purpose
    END AS key,
    sum(count)::BIGINT AS entries,
    count(*) FILTER (WHERE outcome IN ('matched', 'mismatched', 'disclosed', 'not_found') AND replay_of IS NULL) AS charged,
    coalesce(sum(count) FILTER (WHERE outcome = 'refused'), 0)::BIGINT AS refused
FROM read_parquet($1, hive_partitioning = false)
WHERE "at" >= make_timestamptz($2) AND "at" < make_timestamptz($3)
GROUP BY 1;

-- name: export
-- Lines of the log with their leaf numbers, as they come, as Parquet: a column a member.
COPY (
    SELECT * FROM read_ndjson('/dev/stdin', columns = {
        'v': 'INTEGER', 'access_id': 'VARCHAR', 'at': 'TIMESTAMPTZ', 'actor': 'VARCHAR', 'institution': 'INTEGER',
        'key': 'VARCHAR', 'operation': 'VARCHAR', 'purpose': 'VARCHAR', 'fields': 'VARCHAR[]', 'subject': 'VARCHAR',
        'subject_key': 'SMALLINT', 'outcome': 'VARCHAR', 'reason': 'VARCHAR', 'reference': 'VARCHAR',
        'operator': 'VARCHAR', 'address': 'VARCHAR', 'charged': 'INTEGER', 'count': 'INTEGER', 'replay_of': 'VARCHAR',
        'leaf_index': 'BIGINT'
    })
) TO '/dev/stdout' (FORMAT parquet, COMPRESSION zstd);

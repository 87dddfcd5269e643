-- migrate:up

-- The leaf numbers of a batch, given once by the sealer, in the order in which it takes
-- batches. `leaves` are the 32-byte leaf hashes of its entries, by position: they stay
-- when the entries are archived, so that old proofs still verify.
CREATE TABLE seals (
    first_leaf bigint PRIMARY KEY,
    batch bigint NOT NULL UNIQUE,
    leaves bytea NOT NULL,
    CONSTRAINT leaf_hashes_are_sha256 CHECK (length(leaves) > 0 AND length(leaves) % 32 = 0)
);
-- Hashes do not compress.
ALTER TABLE seals ALTER COLUMN leaves SET STORAGE EXTERNAL;

-- Complete subtrees of 2**level leaves from level 8 up: below, at most 256 leaf hashes are
-- hashed again. So a proof reads O(log n) rows.
CREATE TABLE nodes (
    level smallint NOT NULL,
    index bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (level, index),
    CONSTRAINT nodes_begin_at_level_eight CHECK (level >= 8),
    CONSTRAINT node_hashes_are_sha256 CHECK (length(hash) = 32)
);

-- Every signed head of the log. A sealer that has lost its lock without knowing collides
-- here and in seals: no leaf number is given twice.
CREATE TABLE checkpoints (
    size bigint PRIMARY KEY,
    root bytea NOT NULL,
    note text NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT roots_are_sha256 CHECK (length(root) = 32)
);

-- Entries are found by entries_by_place, which knows a range of pages only once that is
-- summarised. PostgreSQL does so by itself within a minute or two; the sealer, which reads
-- what has just been written, asks for it every few seconds.
CREATE FUNCTION summarize_entries() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'Asia/Jakarta')::date;
    index regclass;
BEGIN
    FOR index IN
        SELECT i.inhrelid::regclass
        FROM pg_inherits AS i
        JOIN pg_index AS x ON x.indexrelid = i.inhrelid
        JOIN pg_class AS t ON t.oid = x.indrelid
        WHERE i.inhparent = 'entries_by_place'::regclass
            AND t.relname IN (
                'entries_' || to_char(today, 'YYYYMMDD'),
                'entries_' || to_char(today - 1, 'YYYYMMDD'),
                'entries_default'
            )
    LOOP
        PERFORM brin_summarize_new_values(index);
    END LOOP;
END
$$;

-- migrate:down
DROP FUNCTION summarize_entries;
DROP TABLE checkpoints, nodes, seals;

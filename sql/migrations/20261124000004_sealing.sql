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

-- migrate:down
DROP TABLE checkpoints, nodes, seals;

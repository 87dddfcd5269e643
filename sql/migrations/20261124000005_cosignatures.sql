-- migrate:up

-- What witnesses have cosigned: signature lines (c2sp.org/tlog-cosignature) that were
-- verified before they were kept, and are served below the checkpoint's own.
CREATE TABLE cosignatures (
    size bigint NOT NULL REFERENCES checkpoints,
    witness text NOT NULL,
    line text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (size, witness),
    CONSTRAINT cosignatures_are_signature_lines_of_the_witness
    CHECK (starts_with(line, '— ' || witness || ' ') AND line !~ '\n')
);

-- migrate:down
DROP TABLE cosignatures;

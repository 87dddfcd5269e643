-- migrate:up

-- What a worker sends of an entry: its row but for the batch, which is the flush's. As one array
-- of these, not seventeen of one column each, which take a worker three times as long to write
-- and PostgreSQL no less to read (decision 48).
CREATE TYPE entry_row AS (
    position smallint,
    at timestamptz,
    actor "char",
    outcome "char",
    address text,
    operation "char",
    institution integer,
    key integer,
    purpose smallint,
    fields integer,
    subject_head bigint,
    subject_tail bigint,
    subject_key smallint,
    reason "char",
    reference text,
    operator text,
    replay_of bytea
);

-- migrate:down
DROP TYPE entry_row;

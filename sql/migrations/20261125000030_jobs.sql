-- migrate:up

-- Jobs: up to a million questions that are answered bit by bit. `reserved` is the units that
-- were spent for items which are not answered yet; they count into the windows of `reserved_at`
-- like charges of the log (the sum of both is what an institution has used). `fields` are the
-- bits of all that is asked for, `secret` the number of the one under which items are sealed.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    institution integer NOT NULL,
    key integer NOT NULL,
    address inet,
    operation smallint NOT NULL,
    purpose text NOT NULL,
    secret smallint NOT NULL,
    status text NOT NULL CHECK (status IN ('receiving', 'queued', 'running', 'done', 'failed', 'cancelled')),
    reason smallint,
    fields integer NOT NULL DEFAULT 0,
    items integer NOT NULL DEFAULT 0,
    answered integer NOT NULL DEFAULT 0,
    reserved integer NOT NULL DEFAULT 0,
    reserved_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    over_at timestamptz,
    -- Whoever works at it holds the lease until then; nobody does before.
    lease uuid,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT what_is_not_answered_is_reserved CHECK (
        reserved = CASE WHEN status IN ('queued', 'running') THEN items - answered ELSE 0 END
    )
);
CREATE INDEX jobs_that_are_due ON jobs (due_at) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_of_an_institution ON jobs (institution) WHERE over_at IS NULL;

-- Slices of items and of answers, from the `first` on, sealed: no text of theirs stands here.
-- `names` are keyed digests of the items' ids, by which one that comes twice is found.
CREATE TABLE job_items (
    job uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    first integer NOT NULL,
    names bigint[] NOT NULL,
    sealed bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (job, first)
);
CREATE TABLE job_answers (
    job uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    first integer NOT NULL,
    sealed bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (job, first)
);

-- migrate:down
DROP TABLE job_answers, job_items, jobs;

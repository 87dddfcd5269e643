-- migrate:up

-- Who is signed in at the console, for all workers. The cookie's secret stands nowhere here:
-- `digest` is its SHA-256. `key` is the log's number of the key or token that was shown at the
-- sign-in, `sandbox` whether it was one of a demo or sandbox.
CREATE TABLE console_sessions (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    key integer NOT NULL,
    sandbox boolean NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX console_sessions_that_are_over ON console_sessions (seen_at);

-- migrate:down
DROP TABLE console_sessions;

-- migrate:up

-- Where limits are counted: under an even epoch in Redis, under an odd one in
-- quota_counters. One row, changed by whoever finds that it must be; see decision 24.
CREATE TABLE quota_epoch (
    epoch bigint NOT NULL,
    since timestamptz NOT NULL,
    -- How long at least it stays odd: longer, the sooner Redis is lost again.
    hold_seconds integer NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true,
    CONSTRAINT there_is_one_epoch CHECK (only_row)
);
INSERT INTO quota_epoch (epoch, since, hold_seconds) VALUES (0, clock_timestamp(), 3);

-- The counters while Redis is away. Not logged: a crash of the server empties it, and they
-- are counted from the log again, which is where they came from.
CREATE UNLOGGED TABLE quota_counters (
    institution integer PRIMARY KEY,
    epoch bigint NOT NULL,
    tat bigint NOT NULL,
    day_used bigint NOT NULL,
    day_ends bigint NOT NULL,
    month_used bigint NOT NULL,
    month_ends bigint NOT NULL
) WITH (fillfactor = 50);

-- migrate:down
DROP TABLE quota_counters, quota_epoch;

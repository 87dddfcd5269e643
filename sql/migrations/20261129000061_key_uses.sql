-- migrate:up

-- When each key and token was last used, to the minute, so that nobody need read the log to
-- find one that is idle. Like the rollups, and made with them, it is a cache of the sealed log
-- and no part of it. Of uses from before it was there nothing is known.
CREATE TABLE key_uses (
    key integer PRIMARY KEY,
    last_used_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- migrate:down
DROP TABLE key_uses;

-- migrate:up

-- Limits in shadow: counted beside the real ones, deciding nothing (decision 28). All of
-- them are there, or none; `shadow_since` tells one shadow of an agreement from another.
ALTER TABLE agreements
ADD COLUMN shadow_rate integer,
ADD COLUMN shadow_burst integer,
ADD COLUMN shadow_day bigint,
ADD COLUMN shadow_month bigint,
ADD COLUMN shadow_since timestamptz,
ADD CONSTRAINT a_shadow_is_whole
CHECK (num_nulls(shadow_rate, shadow_burst, shadow_day, shadow_month, shadow_since) IN (0, 5)),
ADD CONSTRAINT a_shadow_is_such_as_limits_are CHECK (
    shadow_rate BETWEEN 1 AND 1000000 AND shadow_burst BETWEEN 1 AND 10000000
    AND shadow_day BETWEEN 1 AND 1000000000000 AND shadow_month BETWEEN 1 AND 1000000000000
);

-- The counters of shadows while Redis is away. Whoever writes one holds the row of its
-- institution in quota_counters. `since`: microseconds since 1970, as in agreements.
CREATE UNLOGGED TABLE quota_shadows (
    institution integer PRIMARY KEY,
    epoch bigint NOT NULL,
    since bigint NOT NULL,
    tat bigint NOT NULL,
    day_used bigint NOT NULL,
    day_ends bigint NOT NULL,
    month_used bigint NOT NULL,
    month_ends bigint NOT NULL
) WITH (fillfactor = 50);

-- migrate:down
DROP TABLE quota_shadows;
ALTER TABLE agreements
DROP COLUMN shadow_rate, DROP COLUMN shadow_burst, DROP COLUMN shadow_day, DROP COLUMN shadow_month,
DROP COLUMN shadow_since;

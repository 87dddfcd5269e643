-- migrate:up

-- How many entries there were in each hour, and in each day of Asia/Jakarta, so that a
-- summary need not read them. A cache of the sealed log and no part of it, so, unlike
-- the log, it is updated in place. Whoever doubts it has it made anew, while all goes on, by
-- recount_rollups() (of the archive's migration), which keeps what only the archive can count.
CREATE TABLE rollups (
    since timestamptz NOT NULL,
    entries bigint NOT NULL,
    charged bigint NOT NULL,
    institution integer,
    hours smallint NOT NULL,
    purpose smallint,
    outcome smallint NOT NULL,
    CONSTRAINT a_span_is_counted_once UNIQUE NULLS NOT DISTINCT (hours, since, institution, outcome, purpose),
    CONSTRAINT rollups_are_of_an_hour_or_a_day CHECK (hours IN (1, 24)),
    CONSTRAINT only_entries_are_charged CHECK (charged BETWEEN 0 AND entries)
) PARTITION BY LIST (hours);

-- Room on each page for the next version of its rows: no index is then touched.
CREATE TABLE rollups_of_hours PARTITION OF rollups FOR VALUES IN (1) WITH (fillfactor = 70);
CREATE TABLE rollups_of_days PARTITION OF rollups FOR VALUES IN (24) WITH (fillfactor = 50);

-- How far the rollups reach: they hold every sealed batch whose first leaf is below this,
-- and no other. Its row's lock makes those who roll up take turns.
CREATE TABLE rolled_up (
    below bigint NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true,
    CONSTRAINT rollups_reach_one_leaf CHECK (only_row)
);
INSERT INTO rolled_up (below) VALUES (0);

-- migrate:down
DROP TABLE rolled_up, rollups;

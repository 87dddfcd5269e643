-- name: epoch
-- Where are limits counted, since when, and what time is it? One row.
SELECT epoch, since, clock_timestamp() AS now FROM quota_epoch;

-- name: leave_redis
-- Limits are counted in PostgreSQL from now on, unless that has been said already.
UPDATE quota_epoch
SET
    epoch = epoch + 1,
    since = clock_timestamp(),
    hold_seconds = CASE
        WHEN clock_timestamp() - since < interval '1 minute' THEN least(60, 2 * hold_seconds)
        ELSE 3
    END
WHERE epoch = $1 AND epoch % 2 = 0;

-- name: admit_alone
-- Waits until no admission in PostgreSQL is under way, and lets none begin. Until the
-- transaction ends.
SELECT pg_advisory_xact_lock(7305140);

-- name: return_to_redis
-- Limits are counted in Redis from now on, unless it is too soon or has been said already.
UPDATE quota_epoch
SET epoch = epoch + 1, since = clock_timestamp()
WHERE epoch = $1 AND epoch % 2 = 1 AND clock_timestamp() - since > hold_seconds * interval '1 second';

-- name: admit_beside_others
-- Admissions go on beside each other; not beside a change of the epoch. Until the
-- transaction ends.
SELECT pg_advisory_xact_lock_shared(7305140);

-- name: counters_of
-- The counters of the institutions in $1 under the epoch $2, held until the transaction
-- ends, in one order so that nobody waits in a circle. By the primary key.
SELECT institution, tat, day_used, day_ends, month_used, month_ends
FROM quota_counters
WHERE institution = ANY($1::integer[]) AND epoch = $2
ORDER BY institution
FOR UPDATE;

-- name: keep_counters
-- What these admissions left. By the primary key.
UPDATE quota_counters AS c
SET tat = k.tat, day_used = k.day_used, day_ends = k.day_ends, month_used = k.month_used, month_ends = k.month_ends
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS k (institution, tat, day_used, day_ends, month_used, month_ends)
WHERE c.institution = k.institution;

-- name: shadows_of
-- The counters of the shadows of the institutions in $1 under the epoch $2, whose own
-- counters are held. By the primary key.
SELECT institution, since, tat, day_used, day_ends, month_used, month_ends
FROM quota_shadows
WHERE institution = ANY($1::integer[]) AND epoch = $2;

-- name: keep_shadows
-- What these admissions left of shadows, for the epoch $8. By the primary key.
INSERT INTO quota_shadows AS c (institution, since, tat, day_used, day_ends, month_used, month_ends, epoch)
SELECT k.*, $8
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS k (institution, since, tat, day_used, day_ends, month_used, month_ends)
ORDER BY k.institution
ON CONFLICT (institution) DO UPDATE
SET
    epoch = excluded.epoch, since = excluded.since, tat = excluded.tat, day_used = excluded.day_used,
    day_ends = excluded.day_ends, month_used = excluded.month_used, month_ends = excluded.month_ends;

-- name: load_counters
-- Counters made from the log, for the epoch $7, where there are none of it yet.
INSERT INTO quota_counters AS c (institution, tat, day_used, day_ends, month_used, month_ends, epoch)
SELECT k.*, $7
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS k (institution, tat, day_used, day_ends, month_used, month_ends)
ORDER BY k.institution
ON CONFLICT (institution) DO UPDATE
SET
    epoch = excluded.epoch, tat = excluded.tat, day_used = excluded.day_used, day_ends = excluded.day_ends,
    month_used = excluded.month_used, month_ends = excluded.month_ends
WHERE c.epoch < excluded.epoch;

-- name: take_over_counters
-- Counters that were kept here until Redis came back: given once. By the primary key.
DELETE FROM quota_counters
WHERE institution = ANY($1::integer[]) AND epoch = $2
RETURNING institution, tat, day_used, day_ends, month_used, month_ends;

-- name: institution_ids
-- Whose counters may there be? All of some thousands.
SELECT id FROM institutions ORDER BY id;

-- name: all_counters
-- All counters of the epoch $1. A few thousand rows at most.
SELECT institution, tat, day_used, day_ends, month_used, month_ends FROM quota_counters WHERE epoch = $1;

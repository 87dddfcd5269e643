-- name: begin
-- Receives another job, for $9 seconds at first, unless $10 of this institution's are under way. An upload
-- is not that nobody has said goes on: it was given up, and could not be dropped. By jobs_of_an_institution.
INSERT INTO jobs (id, institution, key, address, operation, purpose, secret, status, due_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + make_interval(secs => $9)
WHERE (
    SELECT count(*) FROM jobs
    WHERE institution = $2 AND over_at IS NULL AND (status <> 'receiving' OR due_at > clock_timestamp())
) < $10
RETURNING id;

-- name: still_receiving
-- Its upload goes on, and is taken to for $2 seconds.
UPDATE jobs SET due_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1 AND status = 'receiving';

-- name: keep_items
-- A slice of items that came in.
INSERT INTO job_items (job, first, names, sealed) VALUES ($1, $2, $3, $4);

-- name: twice
-- Which of the job's items have the name of one before? The first $2 of them. By the primary key.
SELECT place FROM (
    SELECT first + n - 1 AS place, row_number() OVER (PARTITION BY name ORDER BY first + n) AS time
    FROM job_items, unnest(names) WITH ORDINALITY AS named (name, n)
    WHERE job = $1
) AS one WHERE time > 1 ORDER BY place LIMIT $2;

-- name: accept
-- The job is received whole, and its units are reserved.
UPDATE jobs SET status = 'queued', fields = $2, items = $3, reserved = $3, reserved_at = $4, due_at = clock_timestamp()
WHERE id = $1 AND status = 'receiving'
RETURNING *;

-- name: drop_received
-- What was not accepted is not kept.
DELETE FROM jobs WHERE id = $1 AND status = 'receiving';

-- name: find
-- One job of this institution that was accepted. By the primary key.
SELECT * FROM jobs WHERE id = $1 AND institution = $2 AND status <> 'receiving';

-- name: take
-- Which job has waited longest of those that are due? Takes it, as $1, for $2 seconds.
-- By jobs_that_are_due.
UPDATE jobs SET status = 'running', lease = $1, due_at = clock_timestamp() + make_interval(secs => $2)
WHERE id = (
    SELECT id FROM jobs WHERE status IN ('queued', 'running') AND due_at <= clock_timestamp()
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING *;

-- name: leave
-- Whoever is due in $3 seconds may take it.
UPDATE jobs SET lease = NULL, due_at = clock_timestamp() + make_interval(secs => $3) WHERE id = $1 AND lease = $2;

-- name: items
-- The slice that holds the item at place $2. By the primary key.
SELECT first, sealed FROM job_items WHERE job = $1 AND first <= $2 ORDER BY first DESC LIMIT 1;

-- name: advance
-- $4 more items are answered after the first $3, by the holder of the lease alone.
UPDATE jobs SET
    answered = answered + $4,
    reserved = reserved - $4,
    status = CASE WHEN answered + $4 = items THEN 'done' ELSE status END,
    over_at = CASE WHEN answered + $4 = items THEN clock_timestamp() END
WHERE id = $1 AND lease = $2 AND answered = $3 AND status = 'running'
RETURNING status;

-- name: keep_answers
-- A slice of answers.
INSERT INTO job_answers (job, first, sealed) VALUES ($1, $2, $3);

-- name: drop_answered_items
-- What is asked no more: of the slices before the one that holds the item at place $2, the first
-- ten, since a transaction has little time. By the primary key.
DELETE FROM job_items
WHERE job = $1 AND first IN (
    SELECT first FROM job_items
    WHERE job = $1 AND first < (SELECT max(first) FROM job_items WHERE job = $1 AND first <= $2)
    ORDER BY first LIMIT 10
);

-- name: drop_items
-- What is asked no more: $2 slices of it. Their places. By the primary key.
DELETE FROM job_items
WHERE job = $1 AND first IN (SELECT first FROM job_items WHERE job = $1 ORDER BY first LIMIT $2)
RETURNING first;

-- name: drop_answers
-- What is told no more: $2 slices of it. Their places. By the primary key.
DELETE FROM job_answers
WHERE job = $1 AND first IN (SELECT first FROM job_answers WHERE job = $1 ORDER BY first LIMIT $2)
RETURNING first;

-- name: reserve_anew
-- What is not answered yet counts into the windows of $3 from now on.
UPDATE jobs SET reserved_at = $3 WHERE id = $1 AND lease = $2 AND status = 'running' RETURNING id;

-- name: lock
-- The job as it stands; nobody changes it until this transaction is over.
SELECT * FROM jobs WHERE id = $1 AND over_at IS NULL FOR UPDATE;

-- name: end
-- It is over, and holds no units.
UPDATE jobs SET status = $2, reason = $3, reserved = 0, lease = NULL, over_at = clock_timestamp() WHERE id = $1;

-- name: answers
-- The next slice of answers from place $2 on. By the primary key.
SELECT first, sealed FROM job_answers WHERE job = $1 AND first >= $2 ORDER BY first LIMIT 1;

-- name: left_over
-- Which jobs are over and have items all the same, or answers that are told no more? All that are
-- not forgotten, which are few.
SELECT id, status = 'cancelled' AS cancelled
FROM jobs AS j
WHERE over_at IS NOT NULL AND (
    EXISTS (SELECT FROM job_items WHERE job = j.id)
    OR (status = 'cancelled' AND EXISTS (SELECT FROM job_answers WHERE job = j.id))
);

-- name: outlived
-- Which jobs were over $1 seconds ago, or have not been coming in for $2 seconds and never did?
SELECT id FROM jobs
WHERE over_at < clock_timestamp() - make_interval(secs => $1)
    OR (status = 'receiving' AND due_at < clock_timestamp() - make_interval(secs => $2));

-- name: forget
-- Nothing of a job is kept.
DELETE FROM jobs WHERE id = $1;

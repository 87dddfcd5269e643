-- name: begin_session
-- Somebody signed in; sessions that are over go meanwhile (index on seen_at).
WITH gone AS (
    DELETE FROM console_sessions
    WHERE seen_at < clock_timestamp() - make_interval(secs => $4)
)
INSERT INTO console_sessions (digest, key, sandbox) VALUES ($1, $2, $3);

-- name: see_session
-- Whose session is this, if it is not over? It is seen now (primary key).
UPDATE console_sessions SET seen_at = clock_timestamp()
WHERE digest = $1
  AND seen_at > clock_timestamp() - make_interval(secs => $2)
  AND begun_at > clock_timestamp() - make_interval(secs => $3)
RETURNING key, sandbox;

-- name: look_at_session
-- The same, and it is no later seen for that: nobody need be at the screen.
SELECT key, sandbox FROM console_sessions
WHERE digest = $1
  AND seen_at > clock_timestamp() - make_interval(secs => $2)
  AND begun_at > clock_timestamp() - make_interval(secs => $3);

-- name: end_session
-- Somebody signed out (primary key).
DELETE FROM console_sessions WHERE digest = $1;

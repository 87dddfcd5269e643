-- name: begin_session
-- Somebody signed in, by a token or by the identity $5; sessions that are over go meanwhile (index
-- on seen_at).
WITH gone AS (
    DELETE FROM console_sessions
    WHERE seen_at < clock_timestamp() - make_interval(secs => $4)
)
INSERT INTO console_sessions (digest, key, sandbox, identity) VALUES ($1, $2, $3, $5);

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

-- name: arrive
-- Is this the first return with that state? Those of older departures go meanwhile (primary key,
-- oidc_arrivals_by_time).
WITH gone AS (
    DELETE FROM oidc_arrivals
    WHERE at < clock_timestamp() - make_interval(secs => $2)
)
INSERT INTO oidc_arrivals (digest) VALUES ($1)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: bound_to
-- Whose is this identity, and by which token is that member of staff known
-- (an_identity_is_of_one_person, keys_of_staff)?
SELECT staff_identities.number, keys.number AS key, sandbox
FROM staff_identities
INNER JOIN keys ON keys.staff = staff_identities.staff
WHERE issuer = $1 AND claim = $2 AND subject = $3;

-- The directory (read by every worker), and what an admin keeps in it.
-- Rows changed after a version are found by the index named …_changed.

-- name: directory_state
-- Has anything changed, what time is it there, and is it the server that was asked before? One row.
SELECT version, clock_timestamp() AS at, pg_postmaster_start_time() AS server_started
FROM directory_version;

-- name: directory_version
-- Up to which version does this transaction's snapshot see? One row.
SELECT version FROM directory_version;

-- name: purposes
-- What are the purposes called that changed after version $1? A dozen rows, no index.
SELECT number, name FROM purposes WHERE version > $1;

-- name: institutions
-- Which institutions changed after version $1 (of one id, $2, if given), the first $4 above id $3
-- (whose names hold $5, if given, in capitals or not)? institutions_changed, or the primary key.
SELECT id, name, created_at, harvest_step, harvest_rule, harvest_at, watched_since
FROM institutions
WHERE
    version > $1
    AND id = coalesce($2, id)
    AND id > $3
    AND ($5::text IS NULL OR strpos(lower(name), lower($5)) > 0)
ORDER BY id
LIMIT $4;

-- name: agreements
-- Which agreements changed after version $1 (of one id, $2, if given), the first $4 above id $3 (of
-- one institution, $5, if given), each whole, its grants as columns of one length?
-- agreements_changed, or the primary key; grants by theirs.
SELECT
    agreements.id, institution, from_at, to_at, status, rate, burst, day, month,
    shadow_rate, shadow_burst, shadow_day, shadow_month, shadow_since,
    purposes, purpose_numbers, operations, fields, name_similarities
FROM agreements
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(purposes.name ORDER BY purpose), '{}') AS purposes,
        coalesce(array_agg(purpose ORDER BY purpose), '{}') AS purpose_numbers,
        coalesce(array_agg(grants.operations ORDER BY purpose), '{}') AS operations,
        coalesce(array_agg(grants.fields ORDER BY purpose), '{}') AS fields,
        -- By way of numeric, so that a real 0.9 is read as 0.9.
        coalesce(array_agg(name_similarity::numeric::float8 ORDER BY purpose), '{}') AS name_similarities
    FROM grants
    INNER JOIN purposes ON purposes.number = grants.purpose
    WHERE grants.agreement = agreements.id
) AS granted
WHERE
    agreements.version > $1
    AND agreements.id = coalesce($2, agreements.id)
    AND agreements.id > $3
    AND institution = coalesce($5, institution)
ORDER BY agreements.id
LIMIT $4;

-- name: limits_of_an_institution
-- Which agreements has an institution, with their limits and without their grants, and what time
-- is it there? The whole of a table with a row for each of them.
SELECT id, institution, from_at, to_at, status, rate, burst, day, month, clock_timestamp() AS now
FROM agreements
WHERE institution = $1;

-- name: keys
-- Which keys and tokens changed after version $1, with all that identifies a caller? keys_changed.
SELECT
    number, keys.id, digest, pepper, institution, not_after, cidrs, revoked_at,
    staff.id AS staff_id, staff.role, staff.name
FROM keys
LEFT JOIN staff ON staff.id = keys.staff
WHERE keys.version > $1;

-- name: institution_keys
-- Which keys have institutions (one key or token, $1, if given), the first $3 above number $2 (of
-- one institution, $4, if given)? Never a digest. The primary key, or keys_id_key.
SELECT id, number, institution, not_after, cidrs, created_at, revoked_at, last_used_at
FROM keys
LEFT JOIN key_uses ON key_uses.key = keys.number
WHERE (institution = coalesce($4, institution) OR id = $1) AND id = coalesce($1, id) AND number > $2
ORDER BY number
LIMIT $3;

-- name: certificates
-- Which bindings to certificates changed after version $1 (one, $2, if given), the first $4 above
-- id $3 (of one institution, $5, if given)? certificates_changed, or the primary key.
SELECT id, institution, fingerprint, label, not_after, created_at, unbound_at
FROM certificates
WHERE
    version > $1
    AND id = coalesce($2, id)
    AND id > $3
    AND institution = coalesce($5, institution)
ORDER BY id
LIMIT $4;

-- name: staff_members
-- Who is staff (one of them, $1, if given), under which token and identity, the first $3 above id
-- $2? Never a digest. The primary key.
SELECT
    staff.id, role, name, keys.id AS token, keys.number, not_after, staff.created_at, revoked_at,
    last_used_at, issuer, claim, subject
FROM staff
INNER JOIN keys ON keys.staff = staff.id
LEFT JOIN key_uses ON key_uses.key = keys.number
LEFT JOIN staff_identities ON staff_identities.staff = staff.id
WHERE staff.id = coalesce($1, staff.id) AND staff.id > $2
ORDER BY staff.id
LIMIT $3;

-- name: lock_institution
-- Is there such an institution? Holds off whoever else counts its keys. Primary key.
SELECT id FROM institutions WHERE id = $1 FOR NO KEY UPDATE;

-- name: lock_agreement
-- What does this agreement say now? Holds off whoever else would change it. Primary key.
SELECT institution, from_at, to_at, status, rate, burst, day, month
FROM agreements
WHERE id = $1
FOR NO KEY UPDATE;

-- name: count_live_keys
-- How many keys of an institution are good now or may yet be? keys_of_an_institution.
SELECT count(*) FROM keys
WHERE
    institution = $1
    AND revoked_at IS NULL
    AND (not_after IS NULL OR not_after > clock_timestamp());

-- name: insert_institution
-- A new institution; answers its id.
INSERT INTO institutions (name) VALUES ($1) RETURNING id;

-- name: take_step
-- Takes the step $2 about an institution by the rule $3 at $4, if it is none yet that is as high: of
-- those below the highest only such as were taken from $5 on count. Primary key.
UPDATE institutions
SET harvest_step = $2, harvest_rule = $3, harvest_at = $4
WHERE id = $1 AND harvest_step < CASE WHEN harvest_step < 3 AND harvest_at < $5 THEN 4 ELSE $2 END
RETURNING id;

-- name: let_go
-- Ends what is done about an institution: it is watched anew from now on. Primary key.
UPDATE institutions
SET harvest_step = 0, harvest_rule = NULL, harvest_at = NULL, watched_since = clock_timestamp()
WHERE id = $1
RETURNING id;

-- name: insert_agreement
-- A new agreement, without its grants; answers its id.
INSERT INTO agreements (institution, from_at, to_at, status, rate, burst, day, month)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id;

-- name: update_agreement
-- An agreement's whole new terms, save its grants. Primary key.
UPDATE agreements
SET from_at = $2, to_at = $3, status = $4, rate = $5, burst = $6, day = $7, month = $8
WHERE id = $1;

-- name: set_shadow
-- Puts limits in shadow, from now on, or takes them out of it: then all are null. Primary key.
UPDATE agreements
SET
    shadow_rate = $2, shadow_burst = $3, shadow_day = $4, shadow_month = $5,
    shadow_since = CASE WHEN $2::integer IS NOT NULL THEN clock_timestamp() END
WHERE id = $1;

-- name: delete_grants
-- Takes back all that an agreement grants. Primary key.
DELETE FROM grants WHERE agreement = $1;

-- name: insert_grant
-- Grants a purpose under an agreement.
INSERT INTO grants (agreement, purpose, operations, fields, name_similarity)
VALUES ($1, $2, $3, $4, $5);

-- name: insert_staff
-- A new member of staff, without a token; answers the id.
INSERT INTO staff (role, name) VALUES ($1, $2) RETURNING id;

-- name: insert_key
-- A new key of an institution or token of staff; answers its number.
INSERT INTO keys (id, digest, pepper, institution, staff, not_after, cidrs)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING number;

-- name: revoke_key
-- Ends a key, once: a second time keeps the first instant. keys_id_key.
UPDATE keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1
RETURNING number;

-- name: revoke_staff
-- Ends every token of a member of staff, once. keys_of_staff.
UPDATE keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE staff = $1
RETURNING number;

-- name: is_bound
-- Is an institution bound to the certificate with this fingerprint? certificates_bound_once.
SELECT EXISTS (
    SELECT FROM certificates WHERE institution = $1 AND fingerprint = $2 AND unbound_at IS NULL
);

-- name: insert_certificate
-- Binds an institution to a certificate; answers the binding's id.
INSERT INTO certificates (institution, fingerprint, label, not_after) VALUES ($1, $2, $3, $4)
RETURNING id;

-- name: unbind_certificate
-- Ends a binding, once: a second time keeps the first instant. Primary key.
UPDATE certificates SET unbound_at = coalesce(unbound_at, clock_timestamp()) WHERE id = $1
RETURNING institution;

-- name: count_certificates
-- To how many certificates is an institution bound, over or not? certificates_bound_once.
SELECT count(*) FROM certificates WHERE institution = $1 AND unbound_at IS NULL;
-- name: lock_staff
-- Is there such a member of staff? Holds off whoever else binds it. keys_of_staff.
SELECT staff FROM keys WHERE staff = $1 FOR NO KEY UPDATE;

-- name: delete_identity
-- Takes a member of staff's identity away, and the sessions that began by it. Index on staff.
DELETE FROM staff_identities WHERE staff = $1;

-- name: insert_identity
-- Binds a member of staff to who the provider says it is, unless that is somebody else already.
INSERT INTO staff_identities (staff, issuer, claim, subject, sandbox)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: insert_change
-- What a change was about, what that became, why, by whom, and on which proposal if on any.
INSERT INTO changes (batch, at, operation, id, became, reference, key, operator, proposal)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: changes_of
-- Which changes of the kinds $1 were there of the thing with id $2, the last $3, and who else had
-- approved them? changes_of_one.
SELECT
    batch, at, operation, became, reference, keys.id AS key, operator, changes.proposal,
    staff.name AS approved_by
FROM changes
LEFT JOIN keys ON keys.number = changes.key
LEFT JOIN verdicts ON verdicts.proposal = changes.proposal
LEFT JOIN staff ON staff.id = verdicts.given_by
WHERE operation = ANY($1::smallint[]) AND changes.id = $2
ORDER BY batch DESC
LIMIT $3;

-- name: one_use_at_a_time
-- Holds off whoever else would use an approval that this admin, $1, has. No table.
SELECT pg_advisory_xact_lock(7305165, $1);

-- name: proposals_alike
-- Was just this ($2, $3, $4) proposed by the admin $1, within $5, and what was said of it within $5?
-- Without those that were carried out; the newest first. proposals_by_time.
SELECT proposals.id, basis, approved
FROM proposals
LEFT JOIN verdicts ON verdicts.proposal = proposals.id
WHERE
    proposals.asked_by = $1
    AND operation = $2
    AND target IS NOT DISTINCT FROM $3
    AND asked = $4::jsonb
    AND asked_at > clock_timestamp() - 2 * $5::interval
    AND coalesce(given_at, asked_at) > clock_timestamp() - $5::interval
    AND NOT EXISTS (SELECT FROM changes WHERE changes.proposal = proposals.id)
ORDER BY proposals.id DESC;

-- name: insert_proposal
-- A change that waits from now on.
INSERT INTO proposals (asked_by, operation, target, asked, basis, after)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: proposals
-- Which proposals were made within $4 (or: the one with id $1), the first $3 above id $2, and what
-- became of them? Those that nobody spoke of, or used, within $5 are over. proposals_by_time.
SELECT
    proposals.id, operation, target, asked, basis, after, asked_at, approved, given_at, reason,
    proposals.asked_by, asker.name AS asker, given_by, judge.name AS judge,
    CASE
        WHEN EXISTS (SELECT FROM changes WHERE changes.proposal = proposals.id) THEN 'done'
        WHEN NOT approved THEN 'rejected'
        WHEN coalesce(given_at, asked_at) <= clock_timestamp() - $5::interval THEN 'over'
        WHEN approved THEN 'approved'
        ELSE 'waiting'
    END AS state
FROM proposals
INNER JOIN staff AS asker ON asker.id = proposals.asked_by
LEFT JOIN verdicts ON verdicts.proposal = proposals.id
LEFT JOIN staff AS judge ON judge.id = given_by
WHERE
    proposals.id = coalesce($1, proposals.id)
    AND proposals.id > $2
    AND ($1::integer IS NOT NULL OR asked_at > clock_timestamp() - $4::interval)
ORDER BY proposals.id
LIMIT $3;

-- name: count_proposals
-- How many wait for somebody else than those who asked, such as $1? proposals_by_time.
SELECT count(*) FROM proposals
WHERE
    asked_at > clock_timestamp() - $2::interval
    AND asked_by <> $1
    AND NOT EXISTS (SELECT FROM verdicts WHERE proposal = proposals.id);

-- name: insert_verdict
-- What $2 says of a proposal no older than $5: none if somebody has spoken already. Primary key.
INSERT INTO verdicts (proposal, asked_by, given_by, approved, reason)
SELECT id, asked_by, $2, $3, $4 FROM proposals
WHERE id = $1 AND asked_at > clock_timestamp() - $5::interval
ON CONFLICT DO NOTHING
RETURNING proposal;

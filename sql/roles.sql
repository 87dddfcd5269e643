-- Who may do what. Run by the owner after every migration (`gateway migrate` does);
-- running it again changes nothing. Passwords are set by whoever deploys.
--
--   gateway_owner     migrations, and the archive's command line; owns every object
--   gateway_hot       a worker's lookups: reads the directory, INSERTs the log
--   gateway_registry  a worker's questions to the registry view, on whichever server it is
--   gateway_sealer    reads the log and gives it leaf numbers
--   gateway_auditor   reads the log
--   gateway_receipts  reads one institution's entries at a time, for its receipts
--   gateway_admin     keeps partners; INSERTs the log, since every change is an entry

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gateway_hot', 'gateway_registry', 'gateway_sealer', 'gateway_auditor', 'gateway_receipts', 'gateway_admin'] LOOP
        IF to_regrole(role) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', role);
        END IF;
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA public FROM public;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM public;
REVOKE ALL ON ALL TABLES IN SCHEMA public, registry FROM gateway_hot, gateway_registry, gateway_sealer, gateway_auditor, gateway_receipts, gateway_admin;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM gateway_hot, gateway_registry, gateway_sealer, gateway_auditor, gateway_receipts, gateway_admin;

GRANT USAGE ON SCHEMA public TO gateway_hot, gateway_sealer, gateway_auditor, gateway_receipts, gateway_admin;
GRANT USAGE ON SCHEMA registry TO gateway_registry;
GRANT SELECT ON registry.gateway_residents TO gateway_registry;

-- The directory.
GRANT SELECT ON directory_version, purposes, institutions, agreements, grants, staff, keys, certificates TO gateway_hot, gateway_admin;
GRANT SELECT ON purposes, institutions, agreements, staff TO gateway_auditor;
GRANT SELECT (number, id, institution, staff) ON keys TO gateway_auditor;
GRANT SELECT (number, id) ON keys TO gateway_receipts;
GRANT SELECT ON purposes TO gateway_receipts;
GRANT INSERT ON institutions, agreements, grants, staff, keys, certificates TO gateway_admin;
GRANT UPDATE (name) ON institutions TO gateway_admin;
-- Workers take steps; a trigger leaves it to the admin's role to let an institution go.
GRANT UPDATE (harvest_step, harvest_rule, harvest_at) ON institutions TO gateway_hot, gateway_admin;
GRANT UPDATE (watched_since) ON institutions TO gateway_admin;
GRANT UPDATE (from_at, to_at, status, rate, burst, day, month) ON agreements TO gateway_admin;
GRANT UPDATE (shadow_rate, shadow_burst, shadow_day, shadow_month, shadow_since) ON agreements TO gateway_admin;
GRANT DELETE ON grants TO gateway_admin;
GRANT UPDATE (revoked_at, not_after) ON keys TO gateway_admin;
GRANT UPDATE (unbound_at) ON certificates TO gateway_admin;
GRANT SELECT ON staff_identities TO gateway_hot, gateway_admin;
GRANT INSERT, DELETE ON staff_identities TO gateway_admin;
GRANT SELECT, INSERT ON changes TO gateway_admin;
GRANT SELECT ON changes TO gateway_auditor;
-- What waits for a second admin, and what that one said: added to, never changed.
GRANT SELECT, INSERT ON proposals, verdicts TO gateway_admin;
GRANT SELECT ON proposals, verdicts TO gateway_auditor;

-- The log: added to and read, never changed.
GRANT INSERT ON batches, entries TO gateway_hot, gateway_admin;
GRANT SELECT ON batches, entries TO gateway_sealer, gateway_auditor;
GRANT SELECT, INSERT ON seals, nodes, checkpoints, cosignatures TO gateway_sealer;
GRANT SELECT ON seals, nodes, checkpoints, cosignatures TO gateway_auditor;
-- How far sealing is behind, and nothing else of the log.
GRANT SELECT (batch) ON batches, seals TO gateway_hot;
GRANT SELECT (number, id) ON keys TO gateway_sealer;
GRANT SELECT ON purposes TO gateway_sealer;
GRANT USAGE ON SEQUENCE worker_numbers TO gateway_hot, gateway_admin;
GRANT EXECUTE ON FUNCTION create_partitions TO gateway_hot, gateway_sealer;
GRANT EXECUTE ON FUNCTION summarize_entries TO gateway_sealer;
GRANT EXECUTE ON FUNCTION default_rows TO gateway_hot, gateway_auditor;
-- What is archived, and what is held: the owner's to say, on the command line.
GRANT SELECT ON archived_days, legal_holds TO gateway_auditor;

-- Whose rows of the log are whose. What a query forgets to ask, this still holds: the
-- receipts' role sees the entries of the institution its transaction is for, and none
-- without one. A session may set that for itself, so it guards against our mistakes and
-- not against a worker in foreign hands. Partitions are reached through their parent
-- alone, since nobody is granted one.
GRANT SELECT ON entries TO gateway_receipts;
GRANT SELECT (batch, first_leaf) ON seals TO gateway_receipts;
GRANT SELECT (batch) ON batches TO gateway_receipts;

-- Once only, since it locks the log; and it gives up where a long question holds the log,
-- since every entry would wait behind it.
DO $$
BEGIN
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = 'entries'::regclass) THEN
        PERFORM set_config('lock_timeout', '500ms', true);
        CREATE POLICY entries_are_added ON entries FOR INSERT TO gateway_hot, gateway_admin WITH CHECK (true);
        CREATE POLICY the_log_is_read_whole ON entries FOR SELECT TO gateway_sealer, gateway_auditor USING (true);
        CREATE POLICY institutions_see_their_own ON entries FOR SELECT TO gateway_receipts
            USING (institution = nullif(current_setting('gateway.institution', true), '')::integer);
        ALTER TABLE entries ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$;

-- Idempotency keys. What answered one is added and read; who is at one comes and goes.
GRANT SELECT, INSERT ON idempotency_answers TO gateway_hot;
GRANT SELECT, INSERT, DELETE ON idempotency_claims TO gateway_hot;
GRANT UPDATE (body_digest, until) ON idempotency_claims TO gateway_hot;
GRANT EXECUTE ON FUNCTION forget_idempotency_keys TO gateway_sealer;

-- Rollups are a cache of the log, counted again at will: they alone are updated.
GRANT SELECT, INSERT ON rollups TO gateway_sealer;
GRANT UPDATE (entries, charged) ON rollups TO gateway_sealer;
GRANT SELECT ON rolled_up TO gateway_sealer, gateway_auditor;
GRANT UPDATE (below) ON rolled_up TO gateway_sealer;
GRANT SELECT ON rollups, sums_of_days TO gateway_auditor;
GRANT SELECT, INSERT ON sums_of_days TO gateway_sealer;
GRANT UPDATE (entries, charged, refused) ON sums_of_days TO gateway_sealer;
GRANT SELECT, INSERT ON key_uses TO gateway_sealer;
GRANT UPDATE (last_used_at) ON key_uses TO gateway_sealer;
GRANT SELECT ON key_uses TO gateway_admin;

-- Where limits are counted, and the counters while that is here: a cache of the log.
GRANT SELECT ON quota_epoch, quota_counters TO gateway_hot, gateway_auditor;
GRANT UPDATE (epoch, since, hold_seconds) ON quota_epoch TO gateway_hot;
GRANT INSERT, UPDATE, DELETE ON quota_counters TO gateway_hot;
GRANT SELECT, INSERT, UPDATE ON quota_shadows TO gateway_hot;

-- Jobs: workers keep them, and what they hold is sealed. Counters are made from the log and
-- from what is reserved, which the auditor's role reads.
GRANT SELECT, INSERT, DELETE ON jobs, job_items, job_answers TO gateway_hot;
GRANT UPDATE (status, reason, fields, items, answered, reserved, reserved_at, over_at, lease, due_at) ON jobs TO gateway_hot;
GRANT SELECT (institution, reserved, reserved_at) ON jobs TO gateway_auditor;

-- Sessions of the console: they come, are seen again and go.
GRANT SELECT, INSERT, DELETE ON console_sessions TO gateway_hot;
GRANT UPDATE (seen_at) ON console_sessions TO gateway_hot;
GRANT SELECT, INSERT, DELETE ON oidc_arrivals TO gateway_hot;

-- Searches that wait for a second auditor: filed, approved, and forgotten after a month.
GRANT SELECT, INSERT, DELETE ON subject_approvals TO gateway_hot;
GRANT UPDATE (approved_by, approved_at) ON subject_approvals TO gateway_hot;

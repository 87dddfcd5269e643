-- migrate:up

-- What is done about an institution that seems to harvest (decision 34), here because it
-- outlives Redis, and because every worker reads this row. `watched_since` is when a person
-- last let the institution go. Numbers are those of gateway/vocabulary.py.
ALTER TABLE institutions
ADD COLUMN harvest_step smallint NOT NULL DEFAULT 0,
ADD COLUMN harvest_rule smallint,
ADD COLUMN harvest_at timestamptz,
ADD COLUMN watched_since timestamptz,
ADD CONSTRAINT a_step_is_one_of_three CHECK (harvest_step BETWEEN 0 AND 3),
ADD CONSTRAINT a_step_has_a_rule_and_an_instant
CHECK (num_nulls(harvest_rule, harvest_at) = CASE WHEN harvest_step = 0 THEN 2 ELSE 0 END);

-- A worker may stop an institution, and never let it go.
CREATE FUNCTION stops_end_by_a_release() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.watched_since IS NOT DISTINCT FROM OLD.watched_since THEN
        RAISE EXCEPTION 'a stop ends by a release alone' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER stops_end_by_a_release BEFORE UPDATE OF harvest_step ON institutions
FOR EACH ROW WHEN (old.harvest_step = 3 AND new.harvest_step < 3) EXECUTE FUNCTION stops_end_by_a_release();

-- migrate:down
DROP TRIGGER stops_end_by_a_release ON institutions;
DROP FUNCTION stops_end_by_a_release;
ALTER TABLE institutions
DROP COLUMN harvest_step, DROP COLUMN harvest_rule, DROP COLUMN harvest_at, DROP COLUMN watched_since;

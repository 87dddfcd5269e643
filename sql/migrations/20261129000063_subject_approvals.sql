-- migrate:up

-- Searches for a person that wait for a second auditor, where GATEWAY_AUDIT_FOUR_EYES is on.
-- The person is named by the reference that the log has, never by a NIK. What was asked and
-- approved stands in the log; this is what workers go by, for a month at most.
CREATE TABLE subject_approvals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_by integer NOT NULL REFERENCES staff (id),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    subject_key smallint NOT NULL,
    subject_head bigint NOT NULL,
    subject_tail bigint NOT NULL,
    reason text NOT NULL,
    approved_by integer REFERENCES staff (id),
    approved_at timestamptz,
    CONSTRAINT two_people CHECK (approved_by <> asked_by),
    CONSTRAINT approved_by_somebody_at_an_instant CHECK (num_nulls(approved_by, approved_at) IN (0, 2))
);
CREATE INDEX subject_approvals_asked ON subject_approvals (asked_by, subject_head);
CREATE INDEX subject_approvals_by_time ON subject_approvals (asked_at);

-- migrate:down
DROP TABLE subject_approvals;

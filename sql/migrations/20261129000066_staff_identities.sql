-- migrate:up

-- By whom an OpenID provider knows a member of staff: what its tokens say under `claim`. Under
-- another claim the same text may be somebody else, so all three name one person. `sandbox` is
-- whether a sandbox's admin made this. It is removed, never altered.
CREATE TABLE staff_identities (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    staff integer NOT NULL UNIQUE REFERENCES staff (id),
    issuer text NOT NULL,
    claim text NOT NULL,
    subject text NOT NULL,
    sandbox boolean NOT NULL,
    CONSTRAINT an_identity_is_of_one_person UNIQUE (issuer, claim, subject),
    CONSTRAINT a_subject_is_named CHECK (length(subject) BETWEEN 1 AND 255)
);

-- Sessions that began by an identity end with it, also one that begins just then.
ALTER TABLE console_sessions
ADD COLUMN identity integer REFERENCES staff_identities (number) ON DELETE CASCADE;
CREATE INDEX console_sessions_of_an_identity ON console_sessions (identity)
WHERE identity IS NOT NULL;

-- Who came back from the provider: the digest of a state, which is good once.
CREATE TABLE oidc_arrivals (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX oidc_arrivals_by_time ON oidc_arrivals (at);

-- migrate:down
DROP TABLE oidc_arrivals;
ALTER TABLE console_sessions DROP COLUMN identity;
DROP TABLE staff_identities;

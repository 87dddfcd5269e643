-- migrate:up

-- Changes that wait for a second admin, where GATEWAY_ADMIN_FOUR_EYES is on (decision 43): what
-- was asked, by whom, what it was judged by and what it would become. Like the changes they
-- become, they are added to and never altered. `operation` is its number in
-- gateway/vocabulary.py, `target` the id in the address, `asked` the rest of the call.
CREATE TABLE proposals (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_by integer NOT NULL REFERENCES staff (id),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    operation smallint NOT NULL,
    target text,
    asked jsonb NOT NULL,
    basis json NOT NULL,
    after json NOT NULL,
    UNIQUE (id, asked_by)
);
CREATE INDEX proposals_by_time ON proposals (asked_at);

-- What another admin said of it: once. Who asked may take it back, and no more.
CREATE TABLE verdicts (
    proposal integer PRIMARY KEY,
    asked_by integer NOT NULL,
    given_by integer NOT NULL REFERENCES staff (id),
    given_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    approved boolean NOT NULL,
    reason text NOT NULL,
    FOREIGN KEY (proposal, asked_by) REFERENCES proposals (id, asked_by),
    CONSTRAINT who_approves_has_not_asked CHECK (given_by <> asked_by OR NOT approved)
);

-- Which verdict a change was made on; none where one admin is enough.
ALTER TABLE changes
ADD COLUMN proposal integer REFERENCES verdicts (proposal),
ADD CONSTRAINT an_approval_is_used_once UNIQUE (proposal);

-- migrate:down
ALTER TABLE changes DROP COLUMN proposal;
DROP TABLE verdicts;
DROP TABLE proposals;

-- migrate:up

-- What each change of an admin was about, and what that became. The line of its entry has no
-- member for it. `batch` names the entry, the only one of its batch; `operation` is its number in
-- gateway/vocabulary.py and tells the kind of thing that `id` names. Added to, never changed.
CREATE TABLE changes (
    batch bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    operation smallint NOT NULL,
    id text NOT NULL,
    became jsonb NOT NULL
);
CREATE INDEX changes_of_one ON changes (id, batch);

-- migrate:down
DROP TABLE changes;

-- migrate:up

-- Why each change was made, and by whom, as its entry says: an admin may not read the log.
-- `key` is the log's number of the token. Of changes from before nothing of it is here.
ALTER TABLE changes ADD COLUMN reference text, ADD COLUMN key integer, ADD COLUMN operator text;

-- migrate:down
ALTER TABLE changes DROP COLUMN reference, DROP COLUMN key, DROP COLUMN operator;

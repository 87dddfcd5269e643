-- migrate:up

-- How many rows lie where no partition took them, of batches and entries together; what is
-- above ten thousand is not counted. A gateway's role may ask, and read none of them.
CREATE OR REPLACE FUNCTION default_rows() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*)::integer FROM (
        (SELECT FROM entries_default LIMIT 10000) UNION ALL (SELECT FROM batches_default LIMIT 10000)
    ) AS rows
$$;

-- migrate:down
DROP FUNCTION IF EXISTS default_rows;

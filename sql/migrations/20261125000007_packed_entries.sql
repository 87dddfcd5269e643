-- migrate:up

-- An entry's row without nulls: their bit map costs each row eight bytes. What does not
-- apply is 0, '' or as said below; gateway/audit/rows.py reads it, and the view
-- readable_entries shows it to people. See decision 18.
ALTER TABLE entries RENAME TO unpacked;
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'unpacked'::regclass LOOP
        EXECUTE format('ALTER TABLE %s RENAME TO unpacked_%s', partition, replace(partition::text, 'entries_', ''));
    END LOOP;
END
$$;
DROP INDEX entries_of_an_institution, entries_about_a_subject, entries_by_place;

CREATE TABLE entries (
    batch bigint NOT NULL,
    at timestamptz NOT NULL,
    subject_head bigint NOT NULL,
    -- Where no subject is named: how many accesses the entry stands for.
    subject_tail bigint NOT NULL,
    institution integer NOT NULL,
    key integer NOT NULL,
    -- -1: none could be read.
    fields integer NOT NULL,
    position smallint NOT NULL,
    purpose smallint NOT NULL,
    subject_key smallint NOT NULL,
    actor "char" NOT NULL,
    operation "char" NOT NULL,
    outcome "char" NOT NULL,
    reason "char" NOT NULL,
    -- '::': on no network.
    address inet NOT NULL,
    reference text NOT NULL,
    operator text NOT NULL,
    replay_of bytea NOT NULL,
    CONSTRAINT entries_lie_within_a_minute_of_their_batch CHECK (
        at BETWEEN to_timestamp((batch >> 21) / 1000.0) - interval '1 minute'
        AND to_timestamp((batch >> 21) / 1000.0) + interval '1 millisecond'
    ),
    CONSTRAINT refused_entries_have_a_reason CHECK (outcome <> 5::"char" OR reason <> 0::"char"),
    CONSTRAINT answers_about_residents_name_a_subject CHECK (
        outcome NOT IN (1::"char", 2::"char", 3::"char", 4::"char")
        OR (subject_key <> 0 AND institution <> 0 AND key <> 0)
    ),
    CONSTRAINT a_count_stands_where_no_subject_does CHECK (
        subject_key > 0 OR (subject_key = 0 AND subject_head = 0 AND subject_tail > 0)
    ),
    CONSTRAINT institutions_act_under_their_own_id CHECK (
        institution >= 0 AND (actor = 1::"char") = (institution <> 0)
    ),
    CONSTRAINT only_answers_are_replayed CHECK (
        replay_of = ''
        OR (octet_length(replay_of) = 16 AND outcome IN (1::"char", 2::"char", 3::"char", 4::"char"))
    )
) PARTITION BY RANGE (at);

-- One institution's entries, by the eight seconds (2^13 ms) of their batches: in numbers this
-- small, and often the same, an entry takes a third of what its instant would.
CREATE INDEX entries_of_an_institution ON entries (institution, ((batch >> 34)::integer)) WHERE institution <> 0;
-- Who asked about this person: half of the reference is enough to find, the row tells the rest.
CREATE INDEX entries_about_a_subject ON entries (subject_head) WHERE subject_key <> 0;
-- One entry by its access_id; a span of time over all callers. A few bytes for 32 pages.
CREATE INDEX entries_by_place ON entries USING brin (batch, at) WITH (pages_per_range = 32, autosummarize = on);

DO $$
DECLARE
    partition record;
BEGIN
    FOR partition IN
        SELECT replace(c.relname, 'unpacked_', 'entries_') AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'unpacked'::regclass
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF entries %s', partition.name, partition.bound);
    END LOOP;
END
$$;

INSERT INTO entries
SELECT
    batch, at, coalesce(subject_head, 0), coalesce(subject_tail, count, 1), coalesce(institution, 0),
    coalesce(key, 0), coalesce(fields, -1), position, coalesce(purpose, 0), coalesce(subject_key, 0),
    actor::integer::"char", coalesce(operation, 0)::integer::"char", outcome::integer::"char",
    coalesce(reason, 0)::integer::"char", coalesce(address, '::'), coalesce(reference, ''),
    coalesce(operator, ''), coalesce(uuid_send(replay_of), '')
FROM unpacked
ORDER BY batch, position;

DROP TABLE unpacked;

-- The log as a person reads it with psql: the numbers are those of docs/audit-log.md.
-- Asking it for one institution or subject reads everything: ask entries, then this.
CREATE VIEW readable_entries WITH (security_invoker = true) AS
SELECT
    e.batch, e.position, e.at, e.actor::integer AS actor, nullif(e.institution, 0) AS institution,
    k.id AS key, nullif(e.operation::integer, 0) AS operation, p.name AS purpose, nullif(e.fields, -1) AS fields,
    CASE WHEN e.subject_key <> 0 THEN int8send(e.subject_head) || int8send(e.subject_tail) END AS subject,
    nullif(e.subject_key, 0) AS subject_key, e.outcome::integer AS outcome,
    nullif(e.reason::integer, 0) AS reason, nullif(e.reference, '') AS reference,
    nullif(e.operator, '') AS operator, nullif(e.address, '::') AS address,
    CASE WHEN e.subject_key = 0 THEN e.subject_tail ELSE 1 END AS count,
    CASE WHEN e.replay_of <> '' THEN encode(e.replay_of, 'hex')::uuid END AS replay_of
FROM entries AS e
LEFT JOIN keys AS k ON k.number = e.key
LEFT JOIN purposes AS p ON p.number = e.purpose;

-- migrate:down
DO $$
BEGIN
    RAISE EXCEPTION 'the packed log is not unpacked again: restore a backup';
END
$$;

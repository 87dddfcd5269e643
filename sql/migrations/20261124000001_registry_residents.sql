-- migrate:up

-- The gateway reads residents through ONE view, registry.gateway_residents, over
-- its own DSN, so that the registry can be another server run by others. What they
-- must offer is that view: these columns, these types, found by nik through an index.
CREATE SCHEMA registry;

CREATE TABLE registry.residents (
    nik bigint PRIMARY KEY,
    kk bigint NOT NULL,
    name text NOT NULL,
    birth_place text,
    birth_date date,
    sex text,
    blood_type text,
    religion text,
    marital_status text,
    family_role text,
    education text,
    occupation text,
    mother_name text,
    father_name text,
    address text,
    rt text,
    rw text,
    village text,
    district text,
    regency text,
    province text,
    postal_code text,
    CONSTRAINT nik_has_at_most_sixteen_digits CHECK (nik BETWEEN 0 AND 9999999999999999),
    CONSTRAINT kk_has_at_most_sixteen_digits CHECK (kk BETWEEN 0 AND 9999999999999999)
);

COMMENT ON TABLE registry.residents IS 'The synthetic registry of the demo and the tests.';

CREATE VIEW registry.gateway_residents AS
SELECT
    nik,
    lpad(kk::text, 16, '0') AS kk,
    name,
    birth_place,
    to_char(birth_date, 'YYYY-MM-DD') AS birth_date,
    sex,
    blood_type,
    religion,
    marital_status,
    family_role,
    education,
    occupation,
    mother_name,
    father_name,
    address,
    rt,
    rw,
    village,
    district,
    regency,
    province,
    postal_code
FROM registry.residents;

COMMENT ON VIEW registry.gateway_residents IS
'What the gateway reads: nik as bigint, every other field as text in the form it is answered, birth_date as YYYY-MM-DD.';

-- migrate:down
DROP SCHEMA registry CASCADE;

-- name: find_residents
-- Which of these people are there? One index scan for a whole flush; by nik.
SELECT
    nik, kk, name, birth_place, birth_date, sex, blood_type, religion, marital_status, family_role,
    education, occupation, mother_name, father_name, address, rt, rw, village, district, regency,
    province, postal_code
FROM registry.gateway_residents
WHERE nik = ANY($1::bigint[]);

-- name: answers
-- Is the registry there, and is its view? Reads one row at most.
SELECT count(*) FROM (SELECT nik FROM registry.gateway_residents LIMIT 1) AS one;

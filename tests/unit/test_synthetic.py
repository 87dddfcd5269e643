import csv
import itertools
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gateway.registry.families import BLOCK, CENSUS_DAY, SERIALS_PER_BLOCK, Serials
from gateway.registry.places import districts
from gateway.registry.population import Population
from gateway.registry.resident import SYNTHETIC_SERIALS, Resident, is_nik, nik_stem
from gateway.registry.synthetic import SAMPLE, sample, write_sample
from gateway.vocabulary import RESIDENT_FIELDS

SEED = 11
OPTIONAL = {"blood_type", "education", "father_name", "postal_code"}


def people(residents: int, seed: int = SEED) -> list[Resident]:
    return list(itertools.chain.from_iterable(Population(seed).blocks(residents)))


@pytest.fixture(scope="module")
def crowd() -> list[Resident]:
    return people(100_000)


@pytest.fixture(scope="module")
def families(crowd: list[Resident]) -> list[list[Resident]]:
    by_card: dict[str, list[Resident]] = {}
    for person in crowd:
        by_card.setdefault(text(person, "kk"), []).append(person)
    return list(by_card.values())


def text(person: Resident, field: str) -> str:
    value = person[field]
    assert value is not None, field
    return value


def serials(persons: list[Resident]) -> set[int]:
    return {int(text(person, "nik")[12:]) for person in persons}


def born(person: Resident) -> date:
    return date.fromisoformat(text(person, "birth_date"))


def age(person: Resident) -> float:
    return (CENSUS_DAY - born(person)).days / 365.25


def test_the_same_seed_gives_the_same_residents() -> None:
    assert people(1000) == people(1000)
    assert people(1000) != people(1000, seed=SEED + 1)


def test_a_larger_population_begins_with_the_smaller() -> None:
    assert people(5000)[:1234] == people(1234)


def test_nobody_has_the_number_of_another(crowd: list[Resident]) -> None:
    assert len({person["nik"] for person in crowd}) == len(crowd)


def test_no_number_can_be_that_of_a_real_person(crowd: list[Resident]) -> None:
    for person in crowd:
        assert int(text(person, "nik")[12:]) in SYNTHETIC_SERIALS
        assert int(text(person, "kk")[12:]) in SYNTHETIC_SERIALS


def test_a_number_says_district_birth_date_and_sex(crowd: list[Resident]) -> None:
    known = {district.code: district for district in districts()}
    for person in crowd:
        nik = text(person, "nik")
        district = known[nik[:6]]
        assert is_nik(nik)
        assert nik[:12] == nik_stem(
            district.code, born(person), female=person["sex"] == "P"
        )
        assert person["district"] == district.name
        assert person["regency"] == district.regency
        assert person["province"] == district.province
        assert person["village"] in district.villages


def test_later_rounds_through_the_country_give_other_numbers() -> None:
    population = Population(SEED)
    blocks_of_a_round = sum(district.shares for district in districts())
    first, again = population.block(7), population.block(7 + blocks_of_a_round)
    assert first[0]["district"] == again[0]["district"]
    assert serials(first).isdisjoint(serials(again))
    last = population.block(population.capacity // BLOCK - 1)
    assert serials(last) <= set(SYNTHETIC_SERIALS)
    assert all(is_nik(text(p, "nik")) for p in last)


def test_more_residents_than_numbers_are_refused() -> None:
    population = Population(SEED)
    with pytest.raises(ValueError, match="can be made"):
        population.blocks(population.capacity + 1)


def test_two_blocks_of_a_district_never_share_a_number() -> None:
    blocks = [Serials("317101", share) for share in range(3)]
    given = [
        block.number(date(1990, 1, 5))
        for _ in range(SERIALS_PER_BLOCK)
        for block in blocks
    ]
    assert len({nik for nik, _ in given}) == len(given)
    assert {day for _, day in given} == {date(1990, 1, 5)}


def test_a_birth_beyond_the_serials_of_its_day_is_entered_for_the_day_before() -> None:
    block = Serials("317101", share=0)
    given = [block.number(date(1990, 1, 1)) for _ in range(SERIALS_PER_BLOCK + 1)]
    assert len({nik for nik, _ in given}) == SERIALS_PER_BLOCK + 1
    assert given[-1] == ("3171013112899000", date(1989, 12, 31))


def test_a_family_has_one_head_and_lives_in_one_place(
    families: list[list[Resident]],
) -> None:
    for family in families:
        roles = [person["family_role"] for person in family]
        assert roles[0] == "KEPALA KELUARGA"
        assert roles.count("KEPALA KELUARGA") == 1
        assert roles.count("ISTRI") <= 1
        assert len({person.values[14:] for person in family}) == 1
        assert len({person["religion"] for person in family}) == 1


def test_who_is_married_has_a_spouse_and_nobody_else_has(
    families: list[list[Resident]],
) -> None:
    for family in families:
        married = [p for p in family if p["marital_status"] == "KAWIN"]
        assert [p["sex"] for p in married] in ([], ["L", "P"])
        assert ("ISTRI" in [p["family_role"] for p in family]) == bool(married)


def test_children_are_of_the_couple_they_live_with(
    families: list[list[Resident]],
) -> None:
    for family in families:
        parents = {p["sex"]: p for p in family if p["family_role"] != "ANAK"}
        for child in (p for p in family if p["family_role"] == "ANAK"):
            if "P" in parents:
                assert child["mother_name"] == parents["P"]["name"]
            if "L" in parents:
                assert child["father_name"] == parents["L"]["name"]
            assert child["marital_status"] == "BELUM KAWIN"


def test_mothers_are_grown_up_and_siblings_a_year_apart(
    families: list[list[Resident]],
) -> None:
    for family in families:
        children = [born(p) for p in family if p["family_role"] == "ANAK"]
        gaps = [(b - a).days for a, b in itertools.pairwise(children)]
        assert all(gap > 300 for gap in gaps)
        for mother in (p for p in family if p["family_role"] == "ISTRI"):
            years = [(birth - born(mother)).days / 365.25 for birth in children]
            assert all(18 < at < 46 for at in years)


def test_nobody_is_born_after_the_census_or_absurdly_old(
    crowd: list[Resident],
) -> None:
    assert all(0 <= age(person) < 92 for person in crowd)


def test_schooling_and_work_go_with_age(crowd: list[Resident]) -> None:
    for person in crowd:
        if age(person) < 6:
            assert person["education"] in {"TIDAK/BELUM SEKOLAH", None}
            assert person["occupation"] == "BELUM/TIDAK BEKERJA"
        elif age(person) < 18:
            assert person["occupation"] in {"PELAJAR/MAHASISWA", "BELUM/TIDAK BEKERJA"}
        if person["education"] in {"STRATA II", "STRATA III"}:
            assert age(person) >= 26
        if person["occupation"] == "PENSIUNAN":
            assert age(person) >= 60


def test_only_optional_fields_are_ever_missing(crowd: list[Resident]) -> None:
    missing = {
        field
        for person in crowd
        for field, value in zip(RESIDENT_FIELDS, person.values, strict=True)
        if value is None
    }
    assert missing == OPTIONAL


def test_no_value_needs_escaping_in_a_copy(crowd: list[Resident]) -> None:
    for person in crowd:
        for value in filter(None, person.values):
            assert value == value.strip() != ""
            assert "\\" not in value
            assert value.isprintable()


@pytest.mark.parametrize(
    ("holds", "at_least"),
    [
        pytest.param(lambda p: " " not in text(p, "name"), 0.10, id="one word"),
        pytest.param(lambda p: "'" in text(p, "name"), 0.02, id="apostrophe"),
        pytest.param(lambda p: text(p, "name")[:2] == "I ", 0.001, id="one letter"),
        pytest.param(
            lambda p: p["blood_type"] == "TIDAK TAHU", 0.2, id="blood unknown"
        ),
        pytest.param(lambda p: p["blood_type"] == "O+", 0.002, id="rhesus"),
        pytest.param(lambda p: p["sex"] == "P", 0.45, id="women"),
        pytest.param(lambda p: p["religion"] != "ISLAM", 0.1, id="other religions"),
        pytest.param(lambda p: "KOTA " in text(p, "regency"), 0.1, id="cities"),
        pytest.param(lambda p: p["father_name"] is None, 0.001, id="father unknown"),
    ],
)
def test_the_population_has_the_variety_that_trips_programs(
    crowd: list[Resident], holds: Callable[[Resident], bool], at_least: float
) -> None:
    assert sum(map(holds, crowd)) >= at_least * len(crowd)


def test_every_province_has_residents(crowd: list[Resident]) -> None:
    assert len({person["province"] for person in crowd}) == 38


def test_a_sample_is_of_the_residents_loaded_and_of_their_whole_range(
    crowd: list[Resident],
) -> None:
    places = {person["nik"]: place for place, person in enumerate(crowd)}
    chosen = list(sample(len(crowd), SAMPLE, seed=SEED))
    order = [places[person["nik"]] for person in chosen]
    assert [crowd[place] for place in order] == chosen
    assert [place * SAMPLE // len(crowd) for place in order] == list(range(SAMPLE))
    assert {p["family_role"] for p in chosen} == {"KEPALA KELUARGA", "ISTRI", "ANAK"}


def test_a_sample_larger_than_the_population_is_all_of_it() -> None:
    assert list(sample(30, SAMPLE, seed=SEED)) == people(30)


def test_the_sample_file_has_a_header_and_every_field(tmp_path: Path) -> None:
    path = tmp_path / "residents-sample.csv"
    write_sample(path, 5000, seed=SEED)
    header, *rows = csv.reader(path.read_text("utf-8").splitlines())
    assert header == list(RESIDENT_FIELDS)
    assert [tuple(value or None for value in row) for row in rows] == [
        person.values for person in sample(5000, SAMPLE, seed=SEED)
    ]

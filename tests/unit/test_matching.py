import pytest

from gateway.registry.matching import matches, normalised_name
from gateway.registry.resident import Resident

FLOOR = 0.85


def name_matches(held: str, claimed: str, floor: float = FLOOR) -> bool:
    resident = Resident.from_fields({"name": held})
    return matches(resident, {"name": claimed}, floor)["name"]


def field_matches(field: str, held: str | None, claimed: str) -> bool:
    resident = Resident.from_fields({field: held})
    return matches(resident, {field: claimed}, FLOOR)[field]


@pytest.mark.parametrize(
    ("claimed", "plain"),
    [
        ("siti aminah", "SITI AMINAH"),
        ("  Siti \t Aminah ", "SITI AMINAH"),
        ("Nur'Aini", "NURAINI"),
        ("Nur’aini", "NURAINI"),  # noqa: RUF001 - as phones write it
        ("Nur´aini", "NURAINI"),  # noqa: RUF001 - as some keyboards write it
        ("Abdul-Rahman", "ABDUL RAHMAN"),
        ("José Ramos-Horta", "JOSE RAMOS HORTA"),
        ("Ｓｉｔｉ", "SITI"),  # noqa: RUF001 - full-width on purpose
        ("Si\u200bti", "SITI"),
        ("Søren Łukasz", "SOREN LUKASZ"),
        ("M.Yusuf", "M YUSUF"),
    ],
)
def test_case_spaces_accents_and_punctuation_do_not_tell_names_apart(
    claimed: str, plain: str
) -> None:
    assert normalised_name(claimed) == plain


@pytest.mark.parametrize(
    "titled",
    [
        "Dr. Siti Aminah",
        "dr. Siti Aminah, Sp.A.",
        "dr Siti Aminah Sp.PD",
        "Prof. Dr. Ir. Hj. Siti Aminah, S.H., M.M., Ph.D.",
        "Prof.Dr.Hj.Siti Aminah,S.Kom.,M.Si.",
        "Dra. Siti Aminah M.Pd.",
        "SITI AMINAH SE",
        "SITI AMINAH, SE, MM",
        "Siti Aminah S. H.",
        "Siti Aminah, A.Md.Keb.",
        "Siti Aminah, M.A.",
        "Siti Aminah, MA",
        "Siti Aminah, Dra., Hj.",
        "Ny. Siti Aminah",
        "NY SITI AMINAH",
        "Rr. Siti Aminah",
        "R. A. Siti Aminah",
        "R.A. Siti Aminah",
        "Hajjah Siti Aminah",
        "ＤＲ． Siti Aminah",  # noqa: RUF001 - full-width on purpose
    ],
)
def test_titles_before_and_after_a_name_are_no_part_of_it(titled: str) -> None:
    assert normalised_name(titled) == "SITI AMINAH"
    assert name_matches("SITI AMINAH", titled, 1.0)
    assert name_matches(titled, "SITI AMINAH", 1.0)


@pytest.mark.parametrize(
    "name",
    [
        "H",
        "R",
        "DR",
        "SH",
        "MA",
        "HARTONO",
        "DRAJAT",
        "IRAWAN",
        "SHINTA",
        "BUDI H",
        "BUDI R SANTOSO",
        "BUDI S H",
        "JACK MA",
        "KEVIN NG",
        "I WAYAN SUDIRA",
        "M NUR",
    ],
)
def test_what_only_looks_like_a_title_stays_in_the_name(name: str) -> None:
    assert normalised_name(name) == name


def test_a_title_never_takes_the_last_word_of_a_name() -> None:
    assert normalised_name("H. R.") == "R"
    assert normalised_name("Dr. H.") == "H"
    assert normalised_name("Ma, S.H.") == "MA"
    assert normalised_name("Dr. A, S.H.") == "A"
    assert normalised_name("Dr. H, S.H.") == "H"
    assert normalised_name("Dr. A. Rahman") == "A RAHMAN"
    assert normalised_name("R. A Rahman") == "A RAHMAN"
    assert not name_matches("H", "R", 0.85)


@pytest.mark.parametrize(
    "claimed", ["", " ", "...", "'", "-", "\u0301", "\u200b", ", ."]
)
@pytest.mark.parametrize("floor", [0.0, 0.85])
def test_a_claim_that_says_nothing_never_matches(claimed: str, floor: float) -> None:
    assert not name_matches("SITI AMINAH", claimed, floor)
    assert not name_matches("...", claimed, floor)
    assert not field_matches("address", "...", claimed)
    assert not field_matches("birth_place", "", claimed.strip("\u0301\u200b.,-' "))


def test_a_name_is_so_at_the_floor_and_not_below_it() -> None:
    # One letter of ten left out: similarity 1 - 1/19.
    assert name_matches("ABCDEFGHIJ", "ABCDEFGHI", 1 - 1 / 19)
    assert not name_matches("ABCDEFGHIJ", "ABCDEFGHI", 1 - 1 / 20)


def test_a_slip_of_the_pen_is_forgiven_and_another_person_is_not() -> None:
    assert name_matches("SITI AMINAH", "SITI AMINNAH")
    assert name_matches("MUHAMMAD RIZKI", "MUHAMAD RIZKY")
    assert not name_matches("SITI AMINAH", "SITI AISYAH")
    assert not name_matches("BUDI SANTOSO", "BUDI SETIAWAN")


def test_the_order_of_words_counts() -> None:
    assert not name_matches("SITI AMINAH", "AMINAH SITI")


@pytest.mark.parametrize("field", ["name", "mother_name", "father_name"])
def test_every_name_is_compared_as_a_name(field: str) -> None:
    assert field_matches(field, "SITI AMINAH", "Hj. Siti Aminnah")


def test_a_field_the_registry_does_not_hold_never_matches() -> None:
    for field in ("name", "father_name", "blood_type", "address", "rt"):
        for claimed in ("", "None", "null", "A"):
            assert not field_matches(field, None, claimed)


@pytest.mark.parametrize(
    ("field", "held", "claimed"),
    [
        ("birth_place", "BANDA ACEH", " banda  aceh"),
        ("blood_type", "A+", "a+"),
        ("sex", "L", "l"),
        ("religion", "ISLAM", "Islam"),
        ("address", "JL. MERDEKA NO. 12", "jl merdeka no.12"),
        ("address", "PERUM ASRI BLOK A2/7", "Perum Asri, Blok A2 / 7"),
        ("rt", "001", "1"),
        ("rw", "12", "012"),
        ("rw", "000", "0"),
        ("kk", "3171014501900001", "3171 0145 0190 0001"),
        ("postal_code", "10110", "10110"),
        ("birth_date", "1990-01-05", "1990-01-05"),
    ],
)
def test_other_claims_match_however_they_are_spelt(
    field: str, held: str, claimed: str
) -> None:
    assert field_matches(field, held, claimed)


@pytest.mark.parametrize(
    ("field", "held", "claimed"),
    [
        ("birth_place", "BANDA ACEH", "BANDA ACEHH"),
        ("blood_type", "A+", "A-"),
        ("blood_type", "A+", "A"),
        ("sex", "L", "P"),
        ("address", "JL. MERDEKA NO. 12", "JL. MERDEKA NO. 1 2"),
        ("rt", "001", "010"),
        ("rt", "000", "001"),
        ("kk", "3171014501900001", "3171014501900002"),
        ("birth_date", "1990-01-05", "05-01-1990"),
        ("birth_date", "1990-01-05", "1990-1-5"),
        ("birth_date", "1990-01-05", "1990-01-05T00:00:00"),
        ("birth_date", "1990-01-05", " 1990-01-05"),
        ("birth_date", "1990-01-05", "1990-05-01"),
    ],
)
def test_other_claims_match_exactly_or_not_at_all(
    field: str, held: str, claimed: str
) -> None:
    assert not field_matches(field, held, claimed)


def test_answers_come_in_the_order_of_the_claims() -> None:
    resident = Resident.from_fields({"name": "SITI", "birth_date": "1990-01-05"})
    answers = matches(resident, {"birth_date": "1990-01-06", "name": "SITI"}, FLOOR)
    assert list(answers.items()) == [("birth_date", False), ("name", True)]


def test_a_claim_about_an_unknown_field_is_an_error_and_not_a_no() -> None:
    with pytest.raises(KeyError):
        matches(Resident.from_fields({}), {"salary": "1"}, FLOOR)

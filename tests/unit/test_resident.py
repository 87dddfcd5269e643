from datetime import date

import pytest

from gateway.registry.resident import Resident, is_nik, nik_stem
from gateway.vocabulary import RESIDENT_FIELDS

SITI = Resident.from_fields(
    {"nik": "3171014501900001", "name": "SITI AMINAH", "birth_date": "1990-01-05"}
)


def test_a_projection_keeps_the_contracts_order_whatever_order_was_asked() -> None:
    projected = SITI.project(["birth_date", "name", "nik", "sex"])
    assert list(projected.items()) == [
        ("nik", "3171014501900001"),
        ("name", "SITI AMINAH"),
        ("birth_date", "1990-01-05"),
        ("sex", None),
    ]


def test_a_projection_gives_nothing_that_was_not_asked() -> None:
    assert SITI.project([]) == {}
    assert SITI.project(["name", "name"]) == {"name": "SITI AMINAH"}


def test_a_field_the_contract_does_not_know_is_never_passed_over() -> None:
    with pytest.raises(KeyError):
        SITI.project(["name", "salary"])
    with pytest.raises(ValueError, match="fields of the contract"):
        Resident.from_fields({"salary": "1"})


def test_a_database_row_becomes_texts() -> None:
    row = [171014501900001, 42, "SITI", "SOLO", date(1990, 1, 5), *[None] * 17]
    resident = Resident.from_row(row)
    assert resident["nik"] == "0171014501900001"
    assert resident["kk"] == "0000000000000042"
    assert resident["birth_date"] == "1990-01-05"
    assert resident["birth_place"] == "SOLO"
    assert resident["postal_code"] is None
    assert len(resident.values) == len(RESIDENT_FIELDS)


def test_a_resident_that_strays_into_a_log_says_nothing() -> None:
    shown = f"{SITI} {SITI!r} {[SITI]}"
    assert "SITI" not in shown
    assert "3171" not in shown


def test_a_resident_cannot_be_altered() -> None:
    with pytest.raises(AttributeError):
        SITI.values = ()  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    "text",
    [
        "",
        "317101450190000",
        "31710145019000011",
        "317101450190000A",
        " 317101450190000",
        "3171014501900001\n",
        "٣١٧١٠١٤٥٠١٩٠٠٠٠١",
        "３１７１０１４５０１９００００１",  # noqa: RUF001 - full-width on purpose
        "-317101450190001",
        "3171014501900_01",
    ],
)
def test_a_nik_is_sixteen_ascii_digits_and_nothing_else(text: str) -> None:
    assert not is_nik(text)


def test_a_nik_that_nobody_could_have_is_still_well_formed() -> None:
    assert is_nik("3171014501900001")
    assert is_nik("0000000000000000")


def test_a_womans_day_of_birth_is_raised_by_forty() -> None:
    born = date(1990, 1, 5)
    assert nik_stem("317101", born, female=True) == "317101450190"
    assert nik_stem("317101", born, female=False) == "317101050190"
    assert nik_stem("317101", date(2009, 12, 31), female=True) == "317101711209"

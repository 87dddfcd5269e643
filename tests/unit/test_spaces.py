"""Spaces as word processors and forms on the web write them, in what callers send."""

import csv
import io
import json
from dataclasses import replace

import pytest

from gateway.audit.entry import Entry, Place, line
from gateway.edge import spreadsheet, strict
from gateway.problems import Fault
from gateway.registry.matching import matches
from gateway.registry.resident import Resident
from gateway.vocabulary import Actor, Outcome

# All of Unicode's category Zs.
SPACES = (
    "\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u202f\u205f\u3000"
)
WHITE = SPACES + "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
FORMATS = "\u00ad\u061c\u200b\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff"
REFUSED = "\0\x08\x1b\x7f\x80\x9f\ud800\udfff\ue000\uffff\U0010ffff"
DONE = Entry(at=0, actor=Actor.INSTITUTION, outcome=Outcome.DONE, address=None)
RESIDENT = Resident.from_fields(
    {
        "kk": "3171014501900001",
        "name": "SITI AMINAH",
        "birth_place": "BANDA ACEH",
        "address": "JL MELATI 7",
        "rt": "001",
    }
)


def text_of(value: str) -> str | None:
    faults: list[Fault] = []
    read = strict.read_text(value, faults, "/reference")
    assert (read is None) == bool(faults)
    return read


def claims_of(**claims: str) -> dict[str, str] | None:
    faults: list[Fault] = []
    read = strict.read_claims(claims, faults)
    return None if faults else read


@pytest.mark.parametrize("space", SPACES, ids=ascii)
def test_any_space_may_stand_in_free_text(space: str) -> None:
    assert text_of(f"loan{space}4711") == f"loan{space}4711"


@pytest.mark.parametrize("other", (WHITE + FORMATS + REFUSED)[len(SPACES) :], ids=ascii)
def test_what_would_deceive_a_reader_of_the_log_may_not(other: str) -> None:
    assert text_of(f"loan{other}4711") is None
    assert text_of(f"loan\u00a0{other}4711") is None


@pytest.mark.parametrize("space", SPACES[1:], ids=ascii)
def test_no_nik_and_no_key_passes_with_spaces_within(space: str) -> None:
    assert text_of(f"no. 31710145{space}01900001") is None
    assert text_of(space.join("3171014501900001")) is None
    assert text_of(f"gdk_test{space}_Ab3dE6gH") is None
    assert text_of(f"no. 31710145{space}0190000") is not None


@pytest.mark.parametrize("one", [*WHITE, *FORMATS], ids=ascii)
def test_a_claim_is_so_whatever_white_space_and_invisible_characters_it_came_with(
    one: str,
) -> None:
    between = one if one in WHITE else f" {one}"
    claims = {
        "kk": f"{one}31710145{one}01900001{one}",
        "name": f"{one}Siti{between}Aminah{one}",
        "birth_place": f"{one}Banda{between}Aceh{one}",
        "address": f"{one}Jl.{between}Melati{between}7{one}",
        "rt": f"{one}01{one}",
    }
    assert claims_of(**claims) == claims
    assert set(matches(RESIDENT, claims, 1.0).values()) == {True}


@pytest.mark.parametrize("nothing", [*WHITE, *FORMATS, "\u00a0\t\u200b "], ids=ascii)
def test_a_claim_of_nothing_else_says_nothing(nothing: str) -> None:
    claims = dict.fromkeys(("kk", "name", "birth_place", "address", "rt"), nothing)
    assert claims_of(**claims) == claims
    assert set(matches(RESIDENT, claims, 0.0).values()) == {False}


@pytest.mark.parametrize("other", REFUSED, ids=ascii)
def test_other_controls_and_halves_of_characters_may_not_be_claimed(other: str) -> None:
    assert claims_of(name=f"SITI{other}AMINAH") is None


@pytest.mark.parametrize("one", [*WHITE, *FORMATS], ids=ascii)
def test_a_birth_date_has_nothing_around_it(one: str) -> None:
    assert claims_of(birth_date=f"1990-01-05{one}") is None
    assert claims_of(birth_date=f"{one}1990-01-05") is None


@pytest.mark.parametrize("space", SPACES, ids=ascii)
def test_a_space_stands_as_itself_in_the_line_of_its_entry_and_in_csv(
    space: str,
) -> None:
    written = f"loan{space}4711"
    told = line(replace(DONE, reference=written), Place(1, 0))
    assert f'"reference":"{written}",'.encode() in told
    members = json.loads(told)
    assert json.dumps(members, ensure_ascii=False, separators=(",", ":")) == (
        told.decode()
    )
    sheet = io.StringIO(spreadsheet.rows([told]).decode(), newline="")
    (row,) = csv.DictReader(sheet, spreadsheet.MEMBERS)
    assert row["reference"] == written

"""The console says everything in both of its languages."""

import re
from importlib.resources import files
from typing import Final

import pytest

from gateway import rehearsing
from gateway.console.texts import INDONESIAN, Texts, preferred
from gateway.console.visit import PAGES
from gateway.edge import administration, strict
from gateway.edge.rendering import TITLE
from gateway.partners import identities, keeping, proposals, terms
from gateway.problems import Fault
from gateway.vocabulary import Actor

SAID: Final = re.compile(r"""\bt\(\s*(?:"([^"]+)"|'([^']+)')""")


def said_in_templates() -> set[str]:
    folder = files("gateway.console") / "templates"
    return {
        found[1] or found[2]
        for file in folder.iterdir()
        for found in SAID.finditer(file.read_text("utf-8"))
    }


def said_by_name() -> set[str]:
    """What pages say that stands in no template."""
    names = {name for pages in PAGES.values() for _, name in pages}
    return names | set(TITLE.values()) | {one.word for one in Actor}


def said_by_the_api() -> set[str]:
    """What the API finds wrong with what can be typed into a form of the admin's."""
    faults: list[Fault] = []
    for name in ("", "1" * 16):
        terms.read_name(name, faults)
        terms.read_subject(name, faults)
    for reason in ("", "\x07\x07\x07", "1" * 16, "gdk_test_Ab3dE6gH"):
        strict.read_text(reason, faults, "/reason", shortest=3, longest=200)
    strict.read_text("", faults, "?name", longest=terms.LONGEST_NAME)
    strict.read_instant("soon", faults, "/from")
    terms.read_span(1, 1, faults)
    terms.read_limits({}, faults)
    terms.read_role("", faults)
    terms.read_status("", faults)
    terms.read_networks(["10.0.0.1/8"], faults)
    terms.read_fingerprint("", faults)
    terms.read_grants([], {"kyc": 1}, faults)
    without = {"purpose": "kyc", "operations": [], "fields": [], "name_similarity": "x"}
    terms.read_grants([without], {"kyc": 1}, faults)
    told = {fault.detail for fault in faults}
    told |= {keeping.TOO_MANY_KEYS, keeping.BOUND_ALREADY, administration.NO_CHANGE}
    told |= {proposals.WAITS, proposals.OVERTAKEN, proposals.REJECTED}
    told |= {proposals.OWN, proposals.SPOKEN}
    told |= {identities.SOMEBODY_ELSE}
    return told | {rehearsing.TOO_MANY, rehearsing.NOTHING}


def test_every_text_is_said_in_indonesian_and_none_is_said_for_nothing() -> None:
    assert len(said_in_templates()) > 50
    said = said_in_templates() | said_by_name() | said_by_the_api()
    assert said == set(INDONESIAN)


@pytest.mark.parametrize("english", sorted(INDONESIAN))
def test_a_text_names_the_same_values_in_both(english: str) -> None:
    values = re.compile(r"\{\w*\}")
    told = INDONESIAN[english]
    assert sorted(values.findall(english)) == sorted(values.findall(told))


def test_what_nobody_has_said_in_indonesian_is_a_fault_of_ours() -> None:
    assert Texts("en")("Nobody said this") == "Nobody said this"
    with pytest.raises(KeyError):
        Texts("id")("Nobody said this")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "id"),
        ("en-GB,en;q=0.9", "en"),
        ("id-ID,id;q=0.9,en;q=0.8", "id"),
        ("fr,en;q=0.5", "en"),
        ("in", "id"),
        ("nl", "id"),
    ],
)
def test_the_browser_is_taken_at_its_word(accepted: str, language: str) -> None:
    assert preferred(accepted) == language

"""No run-time dependency asks whoever runs the gateway to publish its source."""

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

import pytest

# Holds all of requirements.lock.
LOCK = Path(__file__).resolve().parents[2] / "requirements-tracing.lock"
# `name==version`, where it is not for every machine ` ; marker`, then the hashes.
LOCKED = re.compile(r"^([\w.-]+)==[^\s;]+( ;)?", re.MULTILINE)
# As SPDX, trove classifiers and people name them. The LGPL is another.
COPYLEFT = re.compile(
    r"\bA?GPL|(?<!Lesser )General Public License|Affero", re.IGNORECASE
)


def licences(held: PackageMetadata) -> list[str]:
    """The name of each licence; of one that is given in full the first line."""
    classified, expressions, texts = (
        held.get_all(field) or []
        for field in ("Classifier", "License-Expression", "License")
    )
    named = [one for one in classified if one.startswith("License ::")]
    first_lines = [text.split("\n")[0] for text in texts]
    return [one for one in (*named, *expressions, *first_lines) if one]


def test_no_runtime_dependency_is_under_the_gpl_or_the_agpl() -> None:
    named = {}
    for name, marked in LOCKED.findall(LOCK.read_text("utf-8")):
        try:
            named[name] = licences(metadata(name))
        except PackageNotFoundError:
            # For another machine than this, such as Windows.
            assert marked, f"{name} is not installed"
    assert len(named) > 40
    assert [name for name, told in named.items() if not told] == []
    found = {name: told for name, told in named.items() if any(map(is_copyleft, told))}
    assert found == {}


def is_copyleft(licence: str) -> bool:
    return COPYLEFT.search(licence) is not None


@pytest.mark.parametrize(
    ("licence", "copyleft"),
    [
        ("GPL-3.0-or-later", True),
        ("MIT AND AGPL-3.0-only", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("License :: OSI Approved :: GNU Affero General Public License v3", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("LGPL-3.0-only", False),
        ("MPL-2.0", False),
    ],
)
def test_what_counts_as_such(licence: str, *, copyleft: bool) -> None:
    assert is_copyleft(licence) is copyleft

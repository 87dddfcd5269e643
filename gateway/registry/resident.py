"""What a resident is: 22 texts in the order of the contract, and the anatomy of a NIK.

A NIK is 16 digits: province, regency and district (two each, the official region
codes), the birth date as DDMMYY (a woman's day is raised by 40), and a serial of four.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, Self

import msgspec
from typing_extensions import override

from gateway.vocabulary import RESIDENT_FIELDS

NIK_DIGITS: Final = 16
WOMAN_DAY_OFFSET: Final = 40
# Serials the civil registry does not reach, so that no synthetic resident, and no
# call made about one, can ever touch a real person.
SYNTHETIC_SERIALS: Final = range(9000, 10_000)

_PLACE: Final = {field: place for place, field in enumerate(RESIDENT_FIELDS)}


class Resident(msgspec.Struct, frozen=True, gc=False):
    """One person as the registry describes them.

    A field is text, or None where the registry holds nothing; `birth_date` is
    YYYY-MM-DD, `sex` is L (laki-laki, male) or P (perempuan, female), `nik` and `kk` are
    16 digits.
    """

    # As it was read, in the order of RESIDENT_FIELDS: of 22 a call wants two or three.
    _row: tuple[str | int | date | None, ...]

    @classmethod
    def from_row(cls, row: Iterable[str | int | date | None]) -> Self:
        """Build from a database row whose columns are in the order of RESIDENT_FIELDS."""
        return cls(tuple(row))

    @classmethod
    def from_fields(cls, fields: Mapping[str, str | None]) -> Self:
        """Build from field names; fields left out are ones the registry lacks."""
        if not fields.keys() <= _PLACE.keys():
            raise ValueError("a resident has only the fields of the contract")
        return cls(tuple(map(fields.get, RESIDENT_FIELDS)))

    def __getitem__(self, field: str) -> str | None:
        return _text(self._row[_PLACE[field]])

    @property
    def values(self) -> tuple[str | None, ...]:
        """All of them, in the order of RESIDENT_FIELDS."""
        return tuple(map(_text, self._row))

    def project(self, fields: Iterable[str]) -> dict[str, str | None]:
        """Return just these fields, in the order of RESIDENT_FIELDS.

        Raises:
            KeyError: a field the contract does not know; it is never passed over.
        """
        places = sorted([_PLACE[field] for field in fields])
        return {RESIDENT_FIELDS[place]: _text(self._row[place]) for place in places}

    # A resident that strays into a log line or a traceback must say nothing.
    @override
    def __repr__(self) -> str:
        return "Resident(…)"


def _text(value: str | int | date | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:0{NIK_DIGITS}d}"


def is_nik(text: str) -> bool:
    """Tell whether this is 16 ASCII digits. Whether anybody has it is another matter."""
    return len(text) == NIK_DIGITS and text.isascii() and text.isdigit()


def nik_stem(district: str, born: date, *, female: bool) -> str:
    """Return the first 12 digits of a NIK; `district` is the six-digit region code."""
    day = born.day + WOMAN_DAY_OFFSET if female else born.day
    return f"{district}{day:02d}{born.month:02d}{born.year % 100:02d}"

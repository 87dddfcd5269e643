"""Where synthetic residents live: real regions, and who lives there in what proportion.

Regions are official (regions/README.txt). The proportions in demography.csv are round
figures after the census of 2020; they only make the population look like the country.
"""

import csv
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

_PEOPLE_PER_SHARE: Final = 10  # thousands


class District(NamedTuple):
    """A district (kecamatan); names in capitals, as a family card prints them."""

    code: str  # the first six digits of the NIKs given out here
    name: str
    regency: str
    province: str
    town: str  # what is written as the birth place of those born here
    villages: tuple[str, ...]
    postal_code: str  # the first digit is right, the rest invented
    peoples: tuple[str, ...]  # one of these at random is right for the province
    shares: int  # of the country's population, in about ten thousands


class _Province(NamedTuple):
    name: str
    thousands: int
    postal: str
    peoples: tuple[str, ...]


def rows(path: str) -> Iterator[dict[str, str]]:
    """Read a CSV file of this package, one mapping a row."""
    text = files("gateway.registry").joinpath(path).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


@cache
def districts() -> tuple[District, ...]:
    """Return every district of Indonesia, by code."""
    regencies = {row["code"]: row["name"] for row in rows("regions/regencies.csv")}
    villages = _villages()
    described = list(rows("regions/districts.csv"))
    counts = Counter(row["code"][:2] for row in described)
    provinces = _provinces()
    return tuple(
        _district(
            row,
            regency=regencies[row["regency_code"]],
            province=provinces[row["code"][:2]],
            villages=villages[row["code"]],
            siblings=counts[row["code"][:2]],
        )
        for row in described
    )


def _district(
    row: dict[str, str],
    *,
    regency: str,
    province: _Province,
    villages: tuple[str, ...],
    siblings: int,
) -> District:
    return District(
        code=row["code"].replace(".", ""),
        name=row["name"].upper(),
        regency=regency,
        province=province.name,
        town=_town(regency),
        villages=villages,
        postal_code=f"{province.postal}{zlib.crc32(row['code'].encode()) % 10_000:04d}",
        peoples=province.peoples,
        shares=max(1, province.thousands // siblings // _PEOPLE_PER_SHARE),
    )


def _town(regency: str) -> str:
    kind, _, name = regency.partition(" ")
    if kind not in {"KABUPATEN", "KOTA"}:
        raise ValueError("a regency is a KABUPATEN or a KOTA")
    return name.removeprefix("ADMINISTRASI ")


def _villages() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for row in rows("regions/villages.csv"):
        found.setdefault(row["district_code"], []).append(row["name"].upper())
    return {district: tuple(names) for district, names in found.items()}


def _provinces() -> dict[str, _Province]:
    names = {row["code"]: row["name"] for row in rows("regions/provinces.csv")}
    return {
        row["province"]: _Province(
            name=names[row["province"]],
            thousands=int(row["thousands"]),
            postal=row["postal"],
            peoples=_in_proportion(row["peoples"]),
        )
        for row in rows("demography.csv")
    }


def _in_proportion(peoples: str) -> tuple[str, ...]:
    shares = (entry.split(":") for entry in peoples.split())
    return tuple(people for people, share in shares for _ in range(int(share)))

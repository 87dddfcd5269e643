"""Synthetic families: who lives in a household, and what the registry says of them."""

from datetime import date, timedelta
from random import Random
from typing import Final, NamedTuple

from gateway.registry.livelihoods import education, occupation
from gateway.registry.peoples import People, full_name, peoples, pick
from gateway.registry.places import District, districts
from gateway.registry.resident import SYNTHETIC_SERIALS, Resident, nik_stem

BLOCK: Final = 100  # residents
SERIALS_PER_BLOCK: Final = 4
CENSUS_DAY: Final = date(2026, 1, 1)  # ages are in full years on this day

_YEAR: Final = 365.25  # days
_ADULT: Final = 20  # years, and so are the next six
_OLDEST: Final = 80
_OLDEST_WITH_CHILDREN_AT_HOME: Final = 62
_OLDEST_CHILD_AT_HOME: Final = 32
_FIRST_BIRTH: Final = 19
_LAST_BIRTH: Final = 44
_UNMARRIED_UNTIL: Final = 35

_COUPLES: Final = 0.85  # shares
_COUPLES_OF_TWO_PEOPLES: Final = 0.15
_LONE_MOTHERS: Final = 0.8
_BORN_ELSEWHERE: Final = 0.2
_FATHER_UNKNOWN: Final = 0.01
_UNRECORDED: Final = 0.01

_SIZES: Final = (1,) * 8 + (2,) * 15 + (3,) * 22 + (4,) * 26 + (5,) * 16 + (6, 7) * 6
_BLOOD_TYPES: Final = (
    *("O",) * 20,
    *("B",) * 14,
    *("A",) * 13,
    *("AB",) * 4,
    *("O+", "A+", "B+", "AB+", "O-", "B-"),
    *("TIDAK TAHU",) * 41,
    *(None,) * 2,
)
_STREETS: Final = (
    "JL. MERDEKA NO. ",
    "JL. JEND. SUDIRMAN NO. ",
    "JL. AHMAD YANI NO. ",
    "JL. DIPONEGORO NO. ",
    "JL. GATOT SUBROTO NO. ",
    "JL. MAWAR NO. ",
    "JL. MELATI RAYA NO. ",
    "GG. MASJID NO. ",
    "GG. H. SALIM NO. ",
    "PERUM GRIYA ASRI BLOK C-",
    "PERUM BUMI INDAH BLOK A2/",
    "KP. BARU NO. ",
    "DUSUN SUKAMAJU NO. ",
)
_PARTED: Final = ("CERAI MATI", "CERAI MATI", "CERAI HIDUP")
_ALONE: Final = (*_PARTED, "BELUM KAWIN")


class Parents(NamedTuple):
    mother: str | None
    father: str | None


class Person(NamedTuple):
    name: str
    sex: str
    born: date
    town: str
    parents: Parents
    clan: str | None


class Home(NamedTuple):
    kk: str
    religion: str
    place: tuple[str | None, ...]  # address to postal_code, as RESIDENT_FIELDS ends


class Serials:
    """The numbers one block may give out in its district; owned by that block.

    Of the thousand synthetic serials of a district and day, the block with share n
    has four that no other has: numbers stay unique with nothing kept in common.
    """

    def __init__(self, district: str, share: int) -> None:
        self._district = district
        self._first = SYNTHETIC_SERIALS.start + share * SERIALS_PER_BLOCK
        self._given: dict[str, int] = {}

    def number(self, day: date, *, female: bool = False) -> tuple[str, date]:
        """Return 16 digits never given before, and the day they stand for.

        That is `day`, or, once the serials of `day` are used up, one before it.
        """
        while True:
            stem = nik_stem(self._district, day, female=female)
            given = self._given.get(stem, 0)
            if given < SERIALS_PER_BLOCK:
                self._given[stem] = given + 1
                return f"{stem}{self._first + given}", day
            day -= timedelta(days=1)


class Settlement:
    """A hundred residents of one district, household by household."""

    def __init__(self, district: District, share: int, chance: Random) -> None:
        self._district = district
        self._chance = chance
        self._draw = chance.random
        self._niks = Serials(district.code, share)
        self._kks = Serials(district.code, share)
        self._residents: list[Resident] = []

    def settle(self) -> list[Resident]:
        while room := BLOCK - len(self._residents):
            size = min(pick(self._draw, _SIZES), room)
            if size == 1:
                self._single()
            elif self._draw() < _COUPLES:
                self._couple(children=size - 2)
            else:
                self._lone_parent(children=size - 1)
        return self._residents

    def _single(self) -> None:
        people = self._people()
        home = self._home(people)
        age = self._between(_ADULT, _OLDEST)
        person = self._adult(people, home.religion, pick(self._draw, "LP"), age)
        young = age < _UNMARRIED_UNTIL
        marital = "BELUM KAWIN" if young else pick(self._draw, _ALONE)
        self._enter(home, person, "KEPALA KELUARGA", marital)

    def _couple(self, children: int) -> None:
        his = hers = self._people()
        if self._draw() < _COUPLES_OF_TWO_PEOPLES:
            hers = self._people()
        home = self._home(his)
        age = self._age_of_mother(children)
        wife = self._adult(hers, home.religion, "P", age)
        his_age = max(_ADULT, self._between(age - 2, age + 8))
        husband = self._adult(his, home.religion, "L", his_age)
        self._enter(home, husband, "KEPALA KELUARGA", "KAWIN")
        self._enter(home, wife, "ISTRI", "KAWIN")
        self._children(home, his, wife, husband, mothers_age=age, count=children)

    def _lone_parent(self, children: int) -> None:
        people = self._people()
        home = self._home(people)
        age = self._age_of_mother(children)
        mother = self._adult(people, home.religion, "P", age)
        father = self._adult(people, home.religion, "L", self._between(age, age + 8))
        head = mother if self._draw() < _LONE_MOTHERS else father
        self._enter(home, head, "KEPALA KELUARGA", pick(self._draw, _PARTED))
        self._children(home, people, mother, father, mothers_age=age, count=children)

    def _age_of_mother(self, children: int) -> int:
        if children == 0:
            return self._between(_ADULT, _OLDEST)
        # Old enough for that many births two years apart.
        youngest = _FIRST_BIRTH + 2 * (children + 1)
        return self._between(youngest, _OLDEST_WITH_CHILDREN_AT_HOME)

    def _children(
        self,
        home: Home,
        people: People,
        mother: Person,
        father: Person,
        *,
        mothers_age: int,
        count: int,
    ) -> None:
        earliest = max(_FIRST_BIRTH, mothers_age - _OLDEST_CHILD_AT_HOME)
        births = range(earliest, min(_LAST_BIRTH, mothers_age), 2)
        parents = Parents(mother.name, father.name)
        for at_age in sorted(self._chance.sample(births, count)):
            born = mother.born + timedelta(
                days=int(at_age * _YEAR) + self._between(0, 364)
            )
            sex = pick(self._draw, "LP")
            name = self._name(people, home.religion, sex, father.clan)
            child = Person(name, sex, born, self._district.town, parents, father.clan)
            self._enter(home, child, "ANAK", "BELUM KAWIN")

    def _adult(self, people: People, religion: str, sex: str, age: int) -> Person:
        clan, mothers_clan = self._clan(people), self._clan(people)
        father = self._name(people, religion, "L", clan)
        parents = Parents(
            mother=self._name(people, religion, "P", mothers_clan),
            father=None if self._draw() < _FATHER_UNKNOWN else father,
        )
        days = int(age * _YEAR) + self._between(0, 364)
        born_here = self._draw() >= _BORN_ELSEWHERE
        where = self._district if born_here else pick(self._draw, districts())
        return Person(
            name=self._name(people, religion, sex, clan),
            sex=sex,
            born=CENSUS_DAY - timedelta(days=days),
            town=where.town,
            parents=parents,
            clan=clan,
        )

    def _enter(self, home: Home, person: Person, role: str, marital: str) -> None:
        nik, born = self._niks.number(person.born, female=person.sex == "P")
        age = int((CENSUS_DAY - born).days / _YEAR)
        schooling = education(self._draw, age)
        is_wife = role == "ISTRI"
        values = (
            nik,
            home.kk,
            person.name,
            person.town,
            born.isoformat(),
            person.sex,
            pick(self._draw, _BLOOD_TYPES),
            home.religion,
            marital,
            role,
            None if self._draw() < _UNRECORDED else schooling,
            occupation(self._draw, age, schooling, is_wife=is_wife),
            person.parents.mother,
            person.parents.father,
            *home.place,
        )
        self._residents.append(Resident(values))

    def _home(self, people: People) -> Home:
        issued = CENSUS_DAY - timedelta(days=self._between(1, 7000))
        district = self._district
        number = self._between(1, 180)
        place = (
            f"{pick(self._draw, _STREETS)}{number}",
            f"{self._between(1, 15):03d}",
            f"{self._between(1, 12):03d}",
            pick(self._draw, district.villages),
            district.name,
            district.regency,
            district.province,
            None if self._draw() < _UNRECORDED else district.postal_code,
        )
        kk, _ = self._kks.number(issued)
        return Home(kk, pick(self._draw, people.religions), place)

    def _people(self) -> People:
        return peoples()[pick(self._draw, self._district.peoples)]

    def _clan(self, people: People) -> str | None:
        return pick(self._draw, people.clans) if people.clans else None

    def _name(self, people: People, religion: str, sex: str, clan: str | None) -> str:
        return full_name(self._draw, people, religion=religion, sex=sex, clan=clan)

    def _between(self, first: int, last: int) -> int:
        return first + int(self._draw() * (last - first + 1))

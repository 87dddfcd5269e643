"""Days of institutions that ask lawfully, and scans that do not, look-up by look-up.

The judge of the rules in gateway/quota/harvest.py, written before them: what is a false
alarm, and how soon a scan is stopped, is measured on this and nothing else. Everything
follows from the seed.

The country is a model: districts (kecamatan) of lognormal size (median 35,000 people),
births spread evenly over the days, serials given in order within a district, a day and a
sex, as the registry gives them. Of those born long ago some have one of three dates that
stand for an unknown one. Who is asked about is there, unless the NIK was mistyped. What the
model leaves out: an import with a shifted column, which asks about nobody all day.
"""

import math
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from random import Random
from typing import Final, NamedTuple

TODAY: Final = date(2026, 11, 24)
# What stands for an unknown date of birth, and by what share of those dates.
STANDING_IN: Final = ((1, 1, 0.35), (31, 12, 0.35), (1, 7, 0.30))
BIRTHS_A_YEAR: Final = 0.017


class Asked(NamedTuple):
    """One question: about whom, what was claimed, whether the registry has such a NIK."""

    nik: str
    claims: str
    found: bool


class District(NamedTuple):
    code: str
    people: int

    def serials(self, born: date) -> int:
        """How many of one sex were born here that day; the same at every asking."""
        mean = self.people * BIRTHS_A_YEAR / 730
        if (born.day, born.month) in {(day, month) for day, month, _ in STANDING_IN}:
            age = (TODAY - born).days / 365
            mean += self.people * standing_in(age) / (70 * 2 * 3)
        return poisson(Random(f"{self.code}{born:%d%m%y}"), mean)  # noqa: S311 - a model


def standing_in(age: float) -> float:
    """The share of those of an age whose date of birth is one that stands in."""
    return 0.003 if age < 25 else 0.02 if age < 50 else 0.08


def poisson(draw: Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(draw.gauss(mean, math.sqrt(mean))))
    left, count = math.exp(-mean), 0
    product = draw.random()
    while product > left:
        product *= draw.random()
        count += 1
    return count


class Country:
    """Draws districts and residents."""

    def __init__(self, draw: Random) -> None:
        self.draw = draw

    def regency(self) -> list[District]:
        code = f"{self.draw.randint(11, 94)}{self.draw.randint(1, 79):02d}"
        return [
            District(f"{code}{number:02d}", self._people())
            for number in range(1, self.draw.randint(8, 30))
        ]

    def _people(self) -> int:
        return min(500_000, int(self.draw.lognormvariate(math.log(35_000), 0.8)))

    def resident(self, district: District, ages: tuple[float, float]) -> str:
        draw = self.draw
        age = draw.uniform(*ages)
        born = TODAY - timedelta(days=int(age * 365.25))
        if draw.random() < standing_in(age):
            day, month, _ = draw.choices(
                STANDING_IN, weights=[share for *_, share in STANDING_IN]
            )[0]
            born = date(born.year, month, day)
        serial = draw.randint(1, 1 + district.serials(born))
        return nik_of(district, born, serial, woman=draw.random() < 0.5)

    def mistyped(self, nik: str) -> str:
        """One digit wrong, or two neighbours changed for each other."""
        place = self.draw.randrange(16)
        if self.draw.random() < 0.3 and place < 15 and nik[place] != nik[place + 1]:
            return nik[:place] + nik[place + 1] + nik[place] + nik[place + 2 :]
        wrong = str((int(nik[place]) + self.draw.randint(1, 9)) % 10)
        return nik[:place] + wrong + nik[place + 1 :]


def nik_of(district: District, born: date, serial: int, *, woman: bool) -> str:
    day = born.day + 40 * woman
    return f"{district.code}{day:02d}{born:%m%y}{serial:04d}"


class Habits(NamedTuple):
    """How an institution asks. A day is drawn from it.

    Args:
        people: the least and the most that come on a day.
        ages: of them, in years.
        home: the share that is from its own districts, which are so many.
        missed: the median share of NIKs that nobody has, and the most.
        tries: of those mistyped, the share asked again; as often, differently, at most.
        again: the share asked about once more that day.
        varied: the share of questions asked again with other claims.
        in_order: the list is asked by the order of its NIKs.
    """

    people: tuple[int, int]
    ages: tuple[float, float]
    home: tuple[float, int]
    missed: tuple[float, float]
    tries: tuple[float, int] = (0.7, 2)
    again: float = 0.0
    varied: float = 0.0
    in_order: bool = False


BANK = Habits((20, 400), (17, 85), (0.7, 8), (0.02, 0.15), again=0.05, varied=0.1)
HOSPITAL = Habits((50, 800), (0, 90), (0.85, 10), (0.03, 0.15), again=0.5)
SCHOOL = Habits((60, 500), (6, 7.6), (0.95, 3), (0.03, 0.12), varied=0.05)
SECONDARY = Habits((60, 500), (15, 16.6), (0.9, 4), (0.03, 0.12), varied=0.05)
CARDS = Habits((100, 5_000), (15, 75), (0.4, 20), (0.06, 0.22), tries=(0.9, 3))
WELFARE = Habits((300, 3_000), (60, 95), (1.0, 1), (0.03, 0.10), in_order=True)
MEMBERS = Habits((1_000, 10_000), (0, 90), (0.98, 20), (0.01, 0.06), in_order=True)
KINDS: Final = {
    "bank": BANK,
    "hospital": HOSPITAL,
    "school": SCHOOL,
    "secondary": SECONDARY,
    "cards": CARDS,
    "welfare": WELFARE,
    "members": MEMBERS,
}
# How many institutions of a hundred are of which kind; lists are rare, and long.
MIX: Final = {
    "bank": 35,
    "hospital": 30,
    "school": 12,
    "secondary": 8,
    "cards": 10,
    "welfare": 3,
    "members": 2,
}


class Institution:
    """One body, with its place and habits; each day of it is another draw."""

    def __init__(self, kind: str, seed: str) -> None:
        self.kind, self.habits = kind, KINDS[kind]
        self.draw = Random(seed)  # noqa: S311 - a model, no secret
        self.country = Country(self.draw)
        self.near = self.country.regency()[: self.habits.home[1]]
        median, most = self.habits.missed
        self.missed = min(most, median * self.draw.lognormvariate(0, 0.7))
        least, most_people = self.habits.people
        # Its size: most are small.
        self.size = least + (most_people - least) * self.draw.random() ** 2

    def day(self) -> Iterator[Asked]:
        """From its first question to its last."""
        for nik in self._list():
            yield from self._ask(nik)

    def _list(self) -> list[str]:
        draw, habits = self.draw, self.habits
        niks: list[str] = []
        for _ in range(max(1, int(self.size * draw.uniform(0.5, 1.5)))):
            near = draw.random() < habits.home[0]
            places = self.near if near else self.country.regency()
            nik = self.country.resident(draw.choice(places), habits.ages)
            niks.append(nik)
            if habits.ages[1] < 18 and draw.random() < 0.015:
                niks.append(nik[:12] + f"{int(nik[12:]) % 9999 + 1:04d}")  # a twin
        return sorted(niks) if habits.in_order else niks

    def _ask(self, nik: str) -> Iterator[Asked]:
        draw, habits = self.draw, self.habits
        if draw.random() < self.missed:
            share, most = habits.tries
            for _ in range(draw.randint(1, most)):
                yield Asked(self.country.mistyped(nik), "as told", found=False)
            if draw.random() > share:
                return
        yield Asked(nik, "as told", found=True)
        while draw.random() < habits.varied:
            yield Asked(nik, f"otherwise {draw.randint(1, 9)}", found=True)
        if draw.random() < habits.again:
            yield Asked(nik, "as told", found=True)


def lawful(seed: str, days: int, each: int = 7) -> Iterator[list[list[Asked]]]:
    """Institutions with `each` days of theirs, until there are so many days."""
    draw = Random(seed)  # noqa: S311 - a model, no secret
    for number in range(days // each):
        kind = draw.choices(list(MIX), weights=list(MIX.values()))[0]
        institution = Institution(kind, f"{seed} {number}")
        yield [list(institution.day()) for _ in range(each)]


# A scan: questions about whoever may be there, until somebody stops it.
Scan = Callable[[Random], Iterator[Asked]]


def _guess(district: District, born: date, serial: int, *, woman: bool) -> Asked:
    found = serial <= district.serials(born)
    nik = nik_of(district, born, serial, woman=woman)
    return Asked(nik, "a guess", found=found)


def _somewhere(draw: Random) -> tuple[District, date]:
    district = draw.choice(Country(draw).regency())
    return district, TODAY - timedelta(days=draw.randint(6_000, 25_000))


def sequential(draw: Random) -> Iterator[Asked]:
    """One prefix, serial after serial."""
    district, born = _somewhere(draw)
    for serial in range(1, 10_000):
        yield _guess(district, born, serial, woman=False)


def by_dates(draw: Random) -> Iterator[Asked]:
    """The first four serials of each day and sex, one day after another."""
    district, born = _somewhere(draw)
    for step in range(2_500):
        for woman in (False, True):
            for serial in range(1, 5):
                day = born + timedelta(days=step)
                yield _guess(district, day, serial, woman=woman)


def shuffled(draw: Random) -> Iterator[Asked]:
    """One prefix, its serials in no order."""
    district, born = _somewhere(draw)
    for serial in draw.sample(range(1, 10_000), 5_000):
        yield _guess(district, born, serial, woman=False)


def shuffled_year(draw: Random) -> Iterator[Asked]:
    """Ten serials of every day and sex of a year, in no order."""
    district, born = _somewhere(draw)
    year = [
        (born + timedelta(days=day), serial, woman)
        for day in range(365)
        for serial in range(1, 11)
        for woman in (False, True)
    ]
    for day, serial, woman in draw.sample(year, len(year)):
        yield _guess(district, day, serial, woman=woman)


SEQUENTIAL: Final[tuple[Scan, ...]] = (sequential, by_dates)
SHUFFLED: Final[tuple[Scan, ...]] = (shuffled, shuffled_year)


def among_its_own(scan: Scan, share: float) -> Scan:
    """A scan by an institution whose other questions, `share` of all, are lawful."""

    def mixed(draw: Random) -> Iterator[Asked]:
        institution = Institution("bank", f"cover {draw.random()}")
        guesses = scan(draw)
        while True:
            for asked in institution.day():
                while draw.random() >= share:
                    yield next(guesses)
                yield asked

    return mixed

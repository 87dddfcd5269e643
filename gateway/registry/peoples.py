"""How synthetic residents are called: by people, religion and sex.

Some peoples hand down a clan's name through the father; the others give each child
names of its own, and often a single one. peoples.csv holds the words: parts `L` and
`P` are given names of men and women, `religion` is listed in rough proportion, and a
people written in capitals is a religion, whose names any of its faithful may bear.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple, TypeVar

from gateway.registry.places import rows

_SECOND_NAME: Final = 0.25  # shares of those who have one
_LAST_NAME: Final = 0.7
_NAME_OF_FAITH: Final = 0.35

# A source of chance: each call returns a number from 0 up to, not including, 1.
Draw = Callable[[], float]
Choice = TypeVar("Choice")


class People(NamedTuple):
    """Names in capitals; `given` and `last` by sex, L or P."""

    religions: tuple[str, ...]
    given: dict[str, tuple[str, ...]]
    last: dict[str, tuple[str, ...]]
    clans: tuple[str, ...]


def pick(draw: Draw, choices: Sequence[Choice]) -> Choice:
    return choices[int(draw() * len(choices))]


@cache
def peoples() -> dict[str, People]:
    """Return the peoples, and the names of the religions, by the word for them."""
    parts: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in rows("peoples.csv"):
        parts.setdefault(row["people"], {})[row["part"]] = tuple(
            row["names"].split(";")
        )
    return {
        people: People(
            religions=part.get("religion", ()),
            given={"L": part["L"], "P": part["P"]},
            last={sex: part.get(f"last {sex}", ()) for sex in ("L", "P")},
            clans=part.get("clan", ()),
        )
        for people, part in parts.items()
    }


def full_name(
    draw: Draw, people: People, *, religion: str, sex: str, clan: str | None
) -> str:
    """Draw a name in capitals.

    Args:
        draw: where chance comes from.
        people: whose names they are.
        religion: as registered; a part of its faithful bear a name of it.
        sex: L or P.
        clan: the father's, or None where the people has no clans.
    """
    names = [_first_name(draw, people, religion, sex)]
    # A form of address of several words (I GUSTI NGURAH) asks for a name after it.
    is_address = " " in names[0]
    if not is_address and draw() < _SECOND_NAME:
        names.append(pick(draw, people.given[sex]))
    if clan is not None:
        names.append(clan)
    elif people.last[sex] and (is_address or draw() < _LAST_NAME):
        names.append(pick(draw, people.last[sex]))
    return " ".join(dict.fromkeys(names))


def _first_name(draw: Draw, people: People, religion: str, sex: str) -> str:
    of_faith = peoples().get(religion)
    if of_faith is not None and draw() < _NAME_OF_FAITH:
        return pick(draw, of_faith.given[sex])
    return pick(draw, people.given[sex])

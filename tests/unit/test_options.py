"""What commands take, and how the texts given to them are read."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from typer.main import get_command

from gateway import options
from gateway.cli import app
from gateway.partners import keeping

# They run on until they are told to end; and migrate has nothing to tell.
ANSWERLESS: Final = {"demo", "serve", "seal", "witness", "migrate"}


def commands(group: Any, *words: str) -> Iterator[tuple[str, list[str]]]:
    """The words of each command, and the options that it takes."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)
        else:
            taken = [option for one in command.params for option in one.opts]
            yield " ".join((*words, name)), taken


def test_every_command_that_answers_anything_answers_programs_too() -> None:
    found = dict(commands(get_command(app)))
    assert {"key revoke", "audit rotate-subject-key"} < found.keys()
    assert {name for name, taken in found.items() if "--json" not in taken} == (
        ANSWERLESS
    )


def test_a_shadow_is_read_as_json_has_it() -> None:
    assert options.split_shadow("day=10,rate=5") == {"day": 10, "rate": 5}
    assert options.split_shadow("none") is None
    assert options.split_shadow(None) is keeping.UNCHANGED


@pytest.mark.parametrize(
    "text", ["", "day", "day=", "day=ten", "day=-1", "day=1,", "day=1,day=2", "day=1.5"]
)
def test_a_shadow_of_another_form_is_left_for_the_rules_to_refuse(text: str) -> None:
    assert options.split_shadow(text) == text

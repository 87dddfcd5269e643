"""The console's words in two languages. English ones are the names of the others."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("id", "en")
NAMES: Final = {"id": "Bahasa Indonesia", "en": "English"}


def _read() -> Mapping[str, str]:
    """What every file of the folder says; of a text that stands in two, either."""
    folder = files("gateway.console") / "indonesian"
    return {
        english: text
        for file in sorted(folder.iterdir(), key=lambda one: one.name)
        for english, text in tomllib.loads(file.read_text("utf-8")).items()
    }


INDONESIAN: Final = _read()


class Texts:
    """Says in one language what the pages say in English."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, english: str, /, **values: object) -> str:
        """The text, its `{names}` filled in.

        Raises:
            KeyError: nobody has said it in Indonesian; a test asks for every one.
        """
        text = english if self.language == "en" else INDONESIAN[english]
        return text.format(**values) if values else text

    def detail(self, english: str) -> str:
        """What is wrong with a field, as the API says it: in English where unknown here."""
        return english if self.language == "en" else INDONESIAN.get(english, english)


def preferred(accepted: str) -> str:
    """The language that a browser's Accept-Language asks for first; else Indonesian."""
    for one in accepted.split(","):
        tag = one.split(";")[0].strip().lower().split("-")[0]
        # "in" is what Indonesian was called before 1989; old systems still do.
        if tag in {"id", "in", "en"}:
            return "en" if tag == "en" else "id"
    return "id"

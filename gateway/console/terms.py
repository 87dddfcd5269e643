"""The form of an agreement: what was typed and ticked, as the API's members. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.console.forms import number
from gateway.console.pages import local_of, moment_of
from gateway.partners.terms import DEFAULT_NAME_SIMILARITY
from gateway.vocabulary import GRANTABLE_OPERATIONS, RESIDENT_FIELDS, Limits

SPAN: Final = ("from", "to")
LIMITS: Final = tuple(f"limits.{name}" for name in Limits._fields)


@dataclass(frozen=True, slots=True)
class Terms:
    """One form's. A tick is `purpose.word`, the word an operation or a field.

    `similarities` are by purpose, as typed.
    """

    purposes: Sequence[str]
    texts: Mapping[str, str]
    ticks: frozenset[str]
    similarities: Mapping[str, str]

    @classmethod
    def typed(
        cls, purposes: Sequence[str], form: Mapping[str, Sequence[str]]
    ) -> "Terms":
        texts = {one: form[one][0].strip() for one in (*SPAN, *LIMITS) if one in form}
        similar = {one: form.get(f"similarity.{one}", [""])[0] for one in purposes}
        return cls(purposes, texts, frozenset(form.get("tick", ())), similar)

    @classmethod
    def of(cls, purposes: Sequence[str], agreement: Mapping[str, Any]) -> "Terms":
        """An agreement's, as the API tells it."""
        ticks = frozenset(
            f"{grant['purpose']}.{word}"
            for grant in agreement["grants"]
            for word in (*grant["operations"], *grant["fields"])
        )
        similar = {
            grant["purpose"]: str(grant["name_similarity"])
            for grant in agreement["grants"]
        }
        texts = {name: local_of(agreement[name]) for name in SPAN}
        return cls(purposes, texts, ticks, similar)

    def similarity(self, purpose: str) -> str:
        return self.similarities.get(purpose, "").strip() or str(
            DEFAULT_NAME_SIMILARITY
        )

    @property
    def grants(self) -> list[dict[str, Any]]:
        """Those of the purposes with a tick, in the order of the purposes."""
        rows = ((one, self._row(one)) for one in self.purposes)
        return [{"purpose": one, **row} for one, row in rows if row]

    def _row(self, purpose: str) -> dict[str, Any]:
        operations, fields = (
            [word for word in words if f"{purpose}.{word}" in self.ticks]
            for words in (GRANTABLE_OPERATIONS, RESIDENT_FIELDS)
        )
        if not operations and not fields:
            return {}
        return {
            "operations": operations,
            "fields": fields,
            "name_similarity": _share(self.similarity(purpose)),
        }

    @property
    def span(self) -> dict[str, str]:
        return {name: moment_of(self.texts.get(name, "")) for name in SPAN}

    @property
    def limits(self) -> dict[str, int | str]:
        given = ((name, self.texts.get(f"limits.{name}")) for name in Limits._fields)
        return {name: number(text) for name, text in given if text}

    def named(self, faults: Mapping[str, str]) -> dict[str, str]:
        """What is wrong, `grants.0.fields` called by its purpose and not by its place."""
        granted = [grant["purpose"] for grant in self.grants]
        found: dict[str, str] = {}
        for name, detail in faults.items():
            kind, _, rest = name.partition(".")
            place, _, member = rest.partition(".")
            of_row = kind == "grants" and rest
            found[f"{granted[int(place)]}: {member}" if of_row else name] = detail
        return found

    def changed(self, agreement: Mapping[str, Any]) -> dict[str, Any]:
        """What of this is not the agreement's already: its dates to the minute."""
        before = Terms.of(self.purposes, agreement)
        given: dict[str, Any] = {
            name: moment
            for name, moment in self.span.items()
            if self.texts.get(name) != before.texts[name]
        }
        if self.grants != before.grants:
            given["grants"] = self.grants
        return given


def _share(text: str) -> float | str:
    """What is no number stays a text, for the API to refuse."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text

"""What came of `gateway chaos`, as tables and as JSON."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from gateway.embedded.asking import NOBODY_ANSWERED
from gateway.embedded.judging import Finding, Span
from gateway.embedded.plan import Plan

console: Final = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Befallen:
    """One fault.

    `span` ends when all is whole again, `over` is when nothing is broken any more, and
    `served` the seconds from then to the first answer with data; as it began, `in_flight`
    calls were under way.
    """

    name: str
    span: Span
    over: float
    served: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run; `statuses` are of answers, 0 where none came."""

    plan: Plan
    seconds: float
    statuses: Mapping[int, int]
    befallen: Sequence[Befallen]
    not_run: Mapping[str, str]
    findings: Sequence[Finding]


def tell_begun(name: str, calls: int) -> None:
    console.print(f"{calls:>9,} calls  {name} ...", soft_wrap=True)


def tell_over(one: Befallen) -> None:
    console.print(
        f"                 {one.over - one.span.began:.1f} s; first answer"
        f" {one.served:.2f} s after it, whole {one.span.ended - one.over:.1f} s after it",
        soft_wrap=True,
    )


def report(found: Outcome, json_file: Path | None) -> None:
    console.print(_faults(found))
    console.print(_findings(found))
    for finding in found.findings:
        for example in finding.examples:
            console.print(f"{finding.name} {example}")
    told = ", ".join(
        f"{status or 'none'}: {times:,}"
        for status, times in sorted(found.statuses.items())
    )
    console.print(f"seed {found.plan.seed}, {found.seconds:.0f} s, answers {told}")
    if json_file is not None:
        json_file.write_text(json.dumps(document(found), indent=1) + "\n", "utf-8")


def document(found: Outcome) -> dict[str, object]:
    """As --json writes it."""
    return {
        "seed": found.plan.seed,
        "minutes": found.plan.minutes,
        "times": found.plan.times,
        "seconds": round(found.seconds, 1),
        "calls": sum(found.statuses.values()),
        "answers": {
            str(status): times
            for status, times in sorted(found.statuses.items())
            if status
        },
        "unanswered": found.statuses.get(NOBODY_ANSWERED, 0),
        "faults": _by_kind(found.befallen),
        "not_run": dict(found.not_run),
        "invariants": [asdict(finding) for finding in found.findings],
        "holds": not any(finding.broken for finding in found.findings),
    }


def _by_kind(befallen: Sequence[Befallen]) -> dict[str, dict[str, float]]:
    kinds = defaultdict[str, list[Befallen]](list)
    for one in befallen:
        kinds[one.name].append(one)
    return {
        name: {
            "times": len(found),
            "in_flight": sum(one.in_flight for one in found),
            "first_answer_s": round(max(one.served for one in found), 3),
            "whole_s": round(max(one.span.ended - one.over for one in found), 3),
        }
        for name, found in sorted(kinds.items())
    }


def _faults(found: Outcome) -> Table:
    table = Table("fault", "times", "first answer after, s", "whole after, s")
    for name, kind in _by_kind(found.befallen).items():
        served, whole = kind["first_answer_s"], kind["whole_s"]
        table.add_row(name, f"{kind['times']}", f"{served:.2f}", f"{whole:.1f}")
    for name, why in found.not_run.items():
        table.add_row(name, "not run", why, "")
    return table


def _findings(found: Outcome) -> Table:
    table = Table("", "invariant", "looked at", "broken")
    for finding in found.findings:
        broken = f"[bold red]{finding.broken:,}[/]" if finding.broken else "0"
        table.add_row(finding.name, finding.says, f"{finding.looked_at:,}", broken)
    return table

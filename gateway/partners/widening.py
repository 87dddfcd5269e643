"""Which changes let an institution do more, so that one admin is not enough: pure.

What ends, suspends, lowers or narrows is none of them (decision 43).
"""

from collections.abc import Iterable
from typing import Final

from gateway.partners.agreement import Agreement, Grant
from gateway.vocabulary import Limits

# No month has more; rate and burst are how fast, and no matter of how much.
DAYS_A_MONTH: Final = 31


def widens(before: Agreement, after: Agreement, above: int) -> bool:
    """Whether an agreement, changed so, permits what it did not.

    A limit counts where it is raised, and to more than `above` units a day, or to as
    much as that is in a month: by a share of what it was, small steps would pass.
    """
    return (
        after.from_at < before.from_at
        or after.to_at > before.to_at
        or (before.status != "active" and after.status == "active")
        or _raises(before.limits, after.limits, above)
        or any(
            _gives_more(before.grants.get(purpose), grant)
            for purpose, grant in after.grants.items()
        )
    )


def discloses_much(agreements: Iterable[Agreement], above: int) -> bool:
    """Whether a key under any of these is shown residents' fields, or asks very much."""
    return any(
        _exceeds(one.limits, above)
        or any("fetch" in grant.operations for grant in one.grants.values())
        for one in agreements
    )


def _raises(before: Limits, after: Limits, above: int) -> bool:
    return (after.day > before.day and after.day > above) or (
        after.month > before.month and after.month > above * DAYS_A_MONTH
    )


def _exceeds(limits: Limits, above: int) -> bool:
    return limits.day > above or limits.month > above * DAYS_A_MONTH


def _gives_more(before: Grant | None, after: Grant) -> bool:
    return (
        before is None
        or not after.operations <= before.operations
        or not set(after.fields) <= set(before.fields)
        # A name that is less alike is told to match: more can be guessed.
        or after.name_similarity < before.name_similarity
    )

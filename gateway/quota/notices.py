"""What is told of admissions: how many, quotas nearly used, and what a shadow refuses."""

from collections.abc import Iterable
from typing import Final

import structlog

from gateway import telemetry
from gateway.clock import to_text
from gateway.quota.limit import POLICIES, SHADOWED, Decision, crossed

log = structlog.get_logger()

# Bound once: to find a label's counter costs as much as to count.
_ADMITTED: Final = telemetry.ADMISSIONS.labels("admitted")
_REFUSED: Final = {policy: telemetry.ADMISSIONS.labels(policy) for policy in POLICIES}
_WOULD_REFUSE: Final = {
    policy: telemetry.SHADOW_REFUSED.labels(policy) for policy in SHADOWED
}


def tell(institution: int, decision: Decision) -> None:
    """Counts a decision; a line in the log for each threshold of a quota it reached."""
    if decision.violated:
        for policy in decision.violated:
            _REFUSED[policy].inc()
        return
    _ADMITTED.inc()
    for crossing in crossed(decision):
        told = (crossing.policy, str(crossing.percent))
        telemetry.QUOTA_THRESHOLDS.labels(*told).inc()
        log.warning(
            "quota_nearly_used",
            institution=institution,
            policy=crossing.policy,
            percent=crossing.percent,
            used=crossing.used,
            quota=crossing.quota,
            resets_at=to_text(crossing.resets_at),
        )


def tell_shadow(violated: Iterable[str]) -> None:
    """Counts what limits in shadow would have refused."""
    for policy in violated:
        _WOULD_REFUSE[policy].inc()


def tell_first_of_the_day(institution: int, policy: str, since: int) -> None:
    """A line in the log for the first ask of a day that this shadow would have refused."""
    log.info(
        "shadow_would_refuse",
        institution=institution,
        policy=policy,
        shadow_since=to_text(since),
    )

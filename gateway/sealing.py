"""Runs the sealer: a process of its own, so that no call waits for it."""

import asyncio

from gateway import telemetry
from gateway.audit.batch import BatchDigests
from gateway.audit.checkpoint import Signer
from gateway.audit.sealer import Sealer
from gateway.lifeline import end_with_parent
from gateway.postgres import Link
from gateway.settings import NumberedKeys, SealSettings, read_settings
from gateway.tasks import keep_running


def seal() -> None:
    """Seals until it is ended. Others may run too: one at a time holds the lock.

    Raises:
        BadSetting: before anything is begun.
    """
    settings = read_settings(SealSettings)
    telemetry.configure_logging()
    peppers = NumberedKeys.read(settings.pepper_file, setting="GATEWAY_PEPPER_FILE")
    signing = NumberedKeys.read(
        settings.signing_key_file, setting="GATEWAY_SIGNING_KEY_FILE"
    )
    sealer = Sealer(
        Link(str(settings.sealer_dsn), name="sealer", statement_seconds=60),
        origin=settings.log_origin,
        signer=Signer(settings.log_origin, signing.by_number[signing.newest]),
        digests=BatchDigests(peppers),
    )
    end_with_parent()
    asyncio.run(keep_running("sealer", sealer.run))

"""Runs the sealer: a process of its own, so that no call waits for it."""

import asyncio

from gateway import telemetry
from gateway.audit.batch import BatchDigests
from gateway.audit.checkpoint import Signer
from gateway.audit.courier import Courier, read_witnesses
from gateway.audit.forgetting import Forgetting
from gateway.audit.rollup import Rollups
from gateway.audit.sealer import Sealer
from gateway.lifeline import end_with_parent
from gateway.postgres import Link
from gateway.settings import NumberedKeys, SealSettings, read_settings
from gateway.tasks import collect_seldom, keep_running


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
    witnesses = read_witnesses(settings.witnesses_file)
    sealer = Sealer(
        _link(settings, "sealer"),
        origin=settings.log_origin,
        signer=Signer(settings.log_origin, signing.by_number[signing.newest]),
        digests=BatchDigests(peppers),
    )
    rollups = Rollups(_link(settings, "rollups"))
    forgetting = Forgetting(_link(settings, "forgetting"))
    couriers = [Courier(_link(settings, "courier"), one) for one in witnesses]
    end_with_parent()
    collect_seldom()
    asyncio.run(_keep_all(sealer, rollups, forgetting, couriers))


def _link(settings: SealSettings, name: str) -> Link:
    return Link(str(settings.sealer_dsn), name=name, statement_seconds=60)


async def _keep_all(
    sealer: Sealer, rollups: Rollups, forgetting: Forgetting, couriers: list[Courier]
) -> None:
    """For ever, side by side: whatever another meets, sealing goes on."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_running("sealer", sealer.run))
        tasks.create_task(keep_running("rollups", rollups.run))
        tasks.create_task(keep_running("forgetting", forgetting.run))
        for courier in couriers:
            tasks.create_task(keep_running("courier", courier.run))

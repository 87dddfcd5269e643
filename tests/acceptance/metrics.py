"""What /metrics tells."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.acceptance.service import Service
from tests.acceptance.wire import Connection


async def metric(service: Service, name: str, **labels: str) -> float | None:
    """The sample with just these labels; None where there is none."""
    async with Connection.opened(service.gateway.port) as connection:
        return await metric_of(connection, name, **labels)


async def metric_of(connection: Connection, name: str, **labels: str) -> float | None:
    """The same of the gateway at the other end."""
    text = (await connection.ask("GET", "/metrics")).body.decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None

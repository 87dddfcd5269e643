"""What /metrics tells."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.acceptance.service import Service


async def metric(service: Service, name: str, **labels: str) -> float | None:
    """The sample with just these labels; None where there is none."""
    text = (await service.ask("GET", "/metrics")).body.decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None

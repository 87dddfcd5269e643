"""The application of one worker, as its supervisor asks for it."""

import os

from litestar.types import ASGIApp

from gateway import telemetry
from gateway.app import create_app
from gateway.edge.express import Express
from gateway.edge.leaving import Leaving
from gateway.edge.lingering import Lingering
from gateway.edge.proxies import TrustedProxies
from gateway.forking import BEGINS_AFTER
from gateway.lifeline import end_with_parent
from gateway.routes import EXPRESS
from gateway.settings import ServeSettings, TraceSettings, read_oidc, read_settings

BEGINNINGS = ("start", "death", "reload")


def worker() -> Leaving:
    """The application of one worker, which ends with its supervisor."""
    end_with_parent()
    for beginning in BEGINNINGS:
        # There from the first on, as 0: an increase is told of what was there before.
        telemetry.WORKER_STARTS.labels(beginning)
    telemetry.WORKER_STARTS.labels(os.environ[BEGINS_AFTER]).inc()
    telemetry.WORKERS.set(1)
    settings = read_settings(ServeSettings)
    app: ASGIApp = Lingering(Express(create_app(settings, read_oidc()), EXPRESS))
    if settings.trusted_proxies:
        app = TrustedProxies(app, settings.trusted_proxies)
    if read_settings(TraceSettings).wanted:
        from gateway.edge import tracing  # noqa: PLC0415 - for those who want it alone

        app = tracing.Tracing(app, tracing.exporting(), settings.trusted_proxies)
    # In a reload the one that takes over listens after all that there are.
    return Leaving(app, newest=settings.worker_count)

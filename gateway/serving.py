"""Runs the workers: one application each, on one port, respawned when they die."""

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server.mp import MPServer, WorkerProcess
from prometheus_client.multiprocess import mark_process_dead
from typing_extensions import override

from gateway.audit.courier import read_witnesses
from gateway.doctor.examination import must_be_safe
from gateway.forking import BEGINS_AFTER, LEAVE, fork_workers, import_anew
from gateway.lifeline import be_parent
from gateway.redis import must_be_usable
from gateway.settings import (
    BadSetting,
    SealSettings,
    ServeSettings,
    TraceSettings,
    read_canaries,
    read_client_secret,
    read_oidc,
    read_settings,
)

DRAIN_SECONDS = 10
RESPAWN_PAUSE = 0.3
# Between the goodbye of a worker and its end; and, in a reload, between the start of the
# one that takes over and that end.
LEAVE_SECONDS = 0.5
RELOAD_SECONDS = 6.0
MOST_CONNECTIONS = 10_000
# The sealer is to begin anew.
RESEAL = threading.Event()


class Workers(MPServer):
    """Granian's supervisor, which does not give up on a worker that dies twice.

    Its own ends everything when one dies again within 5.5 s of its respawn.
    """

    @override
    def _spawn_workers(self, *args: Any, **kwargs: Any) -> None:
        os.environ[BEGINS_AFTER] = "start"
        super()._spawn_workers(*args, **kwargs)  # type: ignore[no-untyped-call]  # Granian's
        os.environ[BEGINS_AFTER] = "death"

    @override
    def _respawn_workers(self, workers: list[int], *args: Any, **kwargs: Any) -> None:
        gone = [self.wrks[index].inner.pid for index in workers]
        # One that dies at every start must not take a core with it.
        time.sleep(RESPAWN_PAUSE)
        for index in workers:
            # In a reload the old one ends so long after the new one began.
            delay = kwargs.get("delay", 0) - LEAVE_SECONDS
            goodbye = threading.Timer(delay, self._say_goodbye, [self.wrks[index]])
            if delay > 0:
                goodbye.start()
            super()._respawn_workers([index], *args, **kwargs)
        self.respawned_wrks.clear()
        for pid in gone:
            # Or what it last said of its dependencies would stay in the metrics.
            mark_process_dead(pid)

    @override
    def _stop_workers(self) -> None:
        for worker in self.wrks:
            self._say_goodbye(worker)
        # Not time.sleep, which libfaketime refuses: a clock set wrong is tried by it.
        threading.Event().wait(LEAVE_SECONDS)
        super()._stop_workers()  # type: ignore[no-untyped-call]  # Granian's

    @staticmethod
    def _say_goodbye(worker: WorkerProcess) -> None:
        if worker.inner.is_alive():
            os.kill(worker.inner.pid, LEAVE)

    @override
    def _reload(self, *args: Any, **kwargs: Any) -> None:
        # SIGHUP: secrets may have been rotated, for the sealer too.
        try:
            _examined()
        except BadSetting as bad:
            # Workers that could not begin would take the place of those that answer.
            sys.stderr.write(f"Not reloaded, all goes on as it was: {bad}\n")
            return
        RESEAL.set()
        os.environ[BEGINS_AFTER] = "reload"
        import_anew()
        super()._reload(*args, **kwargs)  # type: ignore[no-untyped-call]  # Granian's
        os.environ[BEGINS_AFTER] = "death"


def serve() -> None:
    """Serves until SIGTERM or SIGINT, then lets calls under way end.

    Raises:
        BadSetting: before anything is started.
    """
    settings = _examined()
    fork_workers()
    be_parent()
    metrics = Path(tempfile.mkdtemp(prefix="gateway-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    _allow_open_files()
    stopping = threading.Event()
    sealer = threading.Thread(target=_keep_sealing, args=(stopping,))
    sealer.start()
    try:
        _workers(settings).serve()
    finally:
        stopping.set()
        sealer.join()
        shutil.rmtree(metrics, ignore_errors=True)


def _examined() -> ServeSettings:
    """All that workers and sealer begin with can be read, and is safe as far as is known.

    Raises:
        BadSetting: something cannot, or is not.
    """
    settings, sealing = read_settings(ServeSettings), read_settings(SealSettings)
    read_witnesses(sealing.witnesses_file)
    read_canaries(settings.canaries_file)
    must_be_usable(settings.redis_url)
    _must_be_traceable()
    oidc = read_oidc()
    if oidc is not None:
        read_client_secret(oidc.oidc_client_secret_file)
    for sentence in must_be_safe(settings, sealing):
        sys.stderr.write(f"{sentence}\n")
    return settings


def _must_be_traceable() -> None:
    if not read_settings(TraceSettings).wanted:
        return
    if importlib.util.find_spec("opentelemetry") is None:
        raise BadSetting(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
            "install requirements-tracing.lock in place of requirements.lock."
        )
    from gateway.edge import tracing  # noqa: PLC0415 - for those who want it alone

    try:
        tracing.exporting().shutdown()
    except ValueError as error:
        # Its own text ends with the value.
        why = str(error).partition(" but got ")[0].rstrip(".")
        raise BadSetting(f"A setting of OpenTelemetry is bad ({why}).") from None


def _allow_open_files() -> None:
    """As many as the machine lets us: a connection is one, and 1,024 is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _workers(settings: ServeSettings) -> Workers:
    return Workers(
        "gateway.working:worker",
        factory=True,
        address=str(settings.host),
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.worker_count,
        # Where HTTP/2 is possible as well, who sends nothing is waited for for ever.
        http=HTTPModes.http1,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        websockets=False,
        # Connections a worker keeps open. Granian's own bound is 512, so that a
        # thousand idle ones would shut out everybody.
        backpressure=MOST_CONNECTIONS,
        backlog=4096,
        respawn_failed_workers=True,
        respawn_interval=RELOAD_SECONDS,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels.warning,
    )


def _keep_sealing(stopping: threading.Event) -> None:
    """A sealer beside the workers, begun again a second after it ends."""
    while not stopping.is_set():
        sealer = subprocess.Popen([sys.executable, "-m", "gateway", "seal"])
        RESEAL.clear()
        while sealer.poll() is None and not (stopping.wait(0.2) or RESEAL.is_set()):
            pass
        sealer.terminate()
        sealer.wait()
        stopping.wait(1)

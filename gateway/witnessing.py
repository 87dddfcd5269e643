"""Runs a witness: a small server that cosigns logs it has seen grow, and nothing else.

Run by somebody else than the log, on another machine: it is worth what the distance
between the two is worth. One process with one file; it needs no database.
"""

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server.mp import MPServer
from litestar import Litestar, Request, Response, post
from litestar.exceptions import HTTPException

from gateway import telemetry
from gateway.audit.checkpoint import NoteKey
from gateway.audit.cosignature import Cosigner, cosigners
from gateway.audit.witness import (
    NOTHING,
    Head,
    Refusal,
    Refused,
    Submission,
    authenticate,
    judge,
)
from gateway.audit.witnessed import WitnessedHeads
from gateway.lifeline import end_with_parent
from gateway.settings import BadSetting, NumberedKeys, WitnessSettings, read_settings

log = structlog.get_logger()

# 63 hashes, and a note with 16 signatures of the longest kind there is.
MOST_BODY: Final = 128 * 1024
DRAIN_SECONDS: Final = 10
# c2sp.org/tlog-witness.
_STATUS: Final = {
    Refusal.MALFORMED: HTTPStatus.BAD_REQUEST,
    Refusal.UNKNOWN_ORIGIN: HTTPStatus.NOT_FOUND,
    Refusal.BAD_SIGNATURE: HTTPStatus.FORBIDDEN,
    Refusal.OLD_BEYOND_NEW: HTTPStatus.BAD_REQUEST,
    Refusal.OTHER_OLD_SIZE: HTTPStatus.CONFLICT,
    Refusal.OTHER_ROOT: HTTPStatus.CONFLICT,
    Refusal.BAD_PROOF: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Witness:
    """Cosigns what extends the heads it remembers. Safe among threads."""

    def __init__(
        self,
        logs: Mapping[str, Sequence[NoteKey]],
        cosigners: Sequence[Cosigner],
        heads: WitnessedHeads,
        now: Callable[[], int],
    ) -> None:
        self._logs = logs
        self.cosigners = cosigners
        self._heads = heads
        self._now = now

    def add_checkpoint(self, body: bytes) -> str:
        """The signature lines for a submission, once its head is on disk.

        Raises:
            Refused: it was not cosigned, and nothing was recorded.
            sqlite3.Error: it could not be recorded, so it was not cosigned.
        """
        submission = Submission.read(body)
        origin, head = authenticate(submission, self._logs)
        # Before the heads are compared: none that is longer was known at that time.
        at = self._now()
        before = self._heads.advance(
            origin, head, lambda known: _judge(origin, submission, head, known)
        )
        if before is NOTHING:
            # Once for each log; again means that this witness has lost its memory.
            log.warning("log_first_seen", origin=origin, size=head.size)
        log.info("cosigned", origin=origin, size=head.size)
        lines = [one.cosign(submission.text, at) for one in self.cosigners]
        return "".join(f"{line}\n" for line in lines)


def _judge(origin: str, submission: Submission, head: Head, known: Head) -> None:
    try:
        judge(submission, head, known)
    except Refused as refused:
        # Both notes bear the log's signature and hold nothing personal: the evidence.
        evidence = {"origin": origin, "known": known.note, "submitted": head.note}
        if refused.refusal is Refusal.OTHER_ROOT:
            log.critical("two_histories", **evidence)
        elif refused.refusal is Refusal.BAD_PROOF:
            # No alarm: with a note that is public, anybody can send a proof that is bad.
            log.warning("not_an_extension", **evidence)
        raise


@post("/add-checkpoint", status_code=HTTPStatus.OK)
async def add_checkpoint(request: Request[Any, Any, Any]) -> Response[bytes]:
    witness: Witness = request.app.state["witness"]
    body = await request.body()
    try:
        lines = await asyncio.to_thread(witness.add_checkpoint, body)
    except Refused as refused:
        status = _STATUS[refused.refusal]
        if refused.known is not None:
            return _answer(status, f"{refused.known}\n", "text/x.tlog.size")
        return _answer(status, f"{refused.refusal.name.lower()}\n")
    return _answer(HTTPStatus.OK, lines)


def _answer(
    status: int, text: str, media_type: str = "text/plain; charset=utf-8"
) -> Response[bytes]:
    return Response(text.encode(), status_code=status, media_type=media_type)


def _without_cosignature(
    _: Request[Any, Any, Any], error: Exception
) -> Response[bytes]:
    if isinstance(error, HTTPException):
        return _answer(error.status_code, f"{HTTPStatus(error.status_code).phrase}\n")
    # SQLite's words name no path; nothing else that is known can fail here.
    words = str(error) if isinstance(error, sqlite3.Error) else None
    log.critical("witness_failed", error=type(error).__name__, words=words)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error\n")


def create_app(witness: Witness) -> Litestar:
    app = Litestar(
        [add_checkpoint],
        exception_handlers={Exception: _without_cosignature},
        openapi_config=None,
        request_max_body_size=MOST_BODY,
    )
    app.state["witness"] = witness
    return app


def open_witness(settings: WitnessSettings) -> Witness:
    """A witness with its keys and its memory.

    Raises:
        BadSetting: for a file that is missing or bad.
    """
    secrets = NumberedKeys.read(
        settings.witness_key_file, setting="GATEWAY_WITNESS_KEY_FILE"
    )
    logs = read_logs(settings.witness_logs_file)
    try:
        heads = WitnessedHeads(settings.witness_state_file)
    except sqlite3.Error:
        raise BadSetting(
            "GATEWAY_WITNESS_STATE_FILE names no SQLite file that can be written."
        ) from None
    return Witness(
        logs, cosigners(secrets, settings.witness_name), heads, lambda: int(time.time())
    )


def read_logs(path: Path) -> dict[str, list[NoteKey]]:
    """The keys of each log by its origin, from lines as `GET /log/key` gives them.

    Raises:
        BadSetting: no readable file, or not of that form.
    """
    try:
        lines = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError):
        raise BadSetting(
            "GATEWAY_WITNESS_LOGS_FILE names no readable text file."
        ) from None
    logs: dict[str, list[NoteKey]] = defaultdict(list)
    for line in lines:
        key = NoteKey.read(line)
        if key is None:
            raise BadSetting(
                "GATEWAY_WITNESS_LOGS_FILE must hold a log's key a line, as "
                "name+hash+key (an Ed25519 note key, of type 1)."
            )
        logs[key.name].append(key)
    if not logs:
        raise BadSetting("GATEWAY_WITNESS_LOGS_FILE holds no key.")
    return dict(logs)


def serve() -> None:
    """Witnesses until SIGTERM or SIGINT.

    Raises:
        BadSetting: before anything is started.
    """
    settings = read_settings(WitnessSettings)
    telemetry.configure_logging()
    witness = open_witness(settings)
    # What those who run a log put into their GATEWAY_WITNESSES_FILE.
    log.info("witnessing", keys=[one.key.text for one in witness.cosigners])
    MPServer(
        "gateway.witnessing:worker",
        factory=True,
        address=str(settings.witness_host),
        port=settings.witness_port,
        interface=Interfaces.ASGI,
        workers=1,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels.warning,
    ).serve()


def worker() -> Litestar:
    """The application of the one worker, which ends with its supervisor."""
    end_with_parent()
    telemetry.configure_logging()
    return create_app(open_witness(read_settings(WitnessSettings)))

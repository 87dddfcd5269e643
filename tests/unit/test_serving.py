"""`gateway serve` does not start on what its workers could not begin with."""

import secrets
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway import serving
from gateway.cli import app
from gateway.forking import BEGINS_AFTER
from tests.unit.test_settings import DSN, GOOD, SECRET

NIK = "3171014501900000"
TRACING = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


class Started(Exception):
    """It has found nothing that keeps it from starting."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings and files that are as they should be; servers are not asked."""

    def start() -> None:
        raise Started

    monkeypatch.setattr(serving, "must_be_safe", lambda *_: [])
    monkeypatch.setattr(serving, "fork_workers", start)
    canaries = private(tmp_path / "canaries", f"{NIK}\n")
    return {
        **GOOD,
        "GATEWAY_SEALER_DSN": DSN,
        "GATEWAY_CANARIES_FILE": str(canaries),
        **TRACING,
    }


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text, "ascii")
    return path


def serve(environment: dict[str, str], **changed: str) -> Result:
    return CliRunner().invoke(app, ["serve"], env={**environment, **changed})


def test_it_starts_where_everything_can_be_read(environment: dict[str, str]) -> None:
    assert isinstance(serve(environment).exception, Started)


@pytest.mark.parametrize("text", ["317101450190000", f"{NIK} {SECRET}"])
def test_on_bad_canaries_it_ends_with_a_sentence_and_78(
    environment: dict[str, str], tmp_path: Path, text: str
) -> None:
    bad = private(tmp_path / "bad", text)
    missing = tmp_path / secrets.token_hex(8)
    for path in (bad, missing):
        told = serve(environment, GATEWAY_CANARIES_FILE=str(path))
        assert (told.exit_code, told.stdout) == (78, "")
        (sentence,) = told.stderr.splitlines()
        assert sentence.startswith("GATEWAY_CANARIES_FILE ")
        assert not any(one in sentence for one in (text, path.name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "few-of-them"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1234"),
    ],
)
def test_on_a_bad_setting_of_traces_it_ends_with_a_sentence_and_78(
    environment: dict[str, str], name: str, value: str
) -> None:
    told = serve(environment, **{name: value})
    assert (told.exit_code, told.stdout) == (78, "")
    (sentence,) = told.stderr.splitlines()
    assert sentence.startswith("A setting of OpenTelemetry is bad (")
    assert value not in sentence


@pytest.mark.parametrize(
    "options", ["colour=teal", "socket_timeout=soon", "ssl_cert_reqs=perhaps"]
)
def test_on_a_bad_option_of_redis_it_ends_with_a_sentence_and_78(
    environment: dict[str, str], options: str
) -> None:
    url = f"rediss://:{SECRET}@127.0.0.1:6379/0?{options}"
    told = serve(environment, GATEWAY_REDIS_URL=url)
    assert (told.exit_code, told.stdout) == (78, "")
    (sentence,) = told.stderr.splitlines()
    assert sentence.startswith("GATEWAY_REDIS_URL ")
    assert SECRET not in sentence


def test_a_reload_on_bad_canaries_begins_nothing_and_says_why(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def anew() -> None:
        raise Started

    monkeypatch.setattr(serving, "import_anew", anew)
    for name, value in {**environment, BEGINS_AFTER: "start"}.items():
        monkeypatch.setenv(name, value)
    workers = object.__new__(serving.Workers)
    with pytest.raises(Started):
        workers._reload()
    serving.RESEAL.clear()
    monkeypatch.setenv("GATEWAY_CANARIES_FILE", str(tmp_path / "missing"))
    workers._reload()
    assert not serving.RESEAL.is_set()
    assert capsys.readouterr().err.startswith("Not reloaded, ")

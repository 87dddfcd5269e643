"""deploy/nginx/nginx.conf as it is, run on a free port with files of a test's own."""

import asyncio
import datetime as dt
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.embedded.ports import free_port, is_free
from gateway.embedded.wire import HERE, LONGEST_HEAD, Connection

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGURATION: Final = ROOT / "deploy" / "nginx" / "nginx.conf"
NAME: Final = "gateway.example"
START_SECONDS: Final = 15.0
STREAMS: Final = ("body", "proxy", "fastcgi", "uwsgi", "scgi")


def program() -> str:
    """nginx, or the test is skipped."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        pytest.skip("there is no nginx here (Debian: apt-get install nginx-light)")
    return found


@dataclass(frozen=True, slots=True)
class Nginx:
    """One running nginx, before a gateway."""

    folder: Path
    port: int

    @property
    def written(self) -> str:
        """All that it wrote: calls and errors."""
        logs = (self.folder / "calls.log", self.folder / "error.log")
        return "".join(log.read_text("utf-8") for log in logs)

    def trusting(self) -> ssl.SSLContext:
        """For a client that knows its certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "gateway.pem"))

    @asynccontextmanager
    async def connection(
        self, *, source: str = HERE, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(
            HERE,
            self.port,
            limit=LONGEST_HEAD,
            local_addr=(source, 0),
            ssl=context or self.trusting(),
            server_hostname=NAME,
        )
        try:
            yield Connection(reader, writer)
        finally:
            writer.transport.abort()


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these once in it, and replaced."""
    for old, new in changes.items():
        assert text.count(old) == 1, f"not once in {CONFIGURATION.name}: {old}"
        text = text.replace(old, new)
    return text


def write_certificate(folder: Path, stem: str, name: str) -> None:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / f"{stem}.pem").write_bytes(pem)
    (folder / f"{stem}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def write_configuration(
    folder: Path, port: int, gateway: int, changes: Mapping[str, str]
) -> Path:
    """The one that is deployed, with the places of this test in it."""
    places = {
        "listen 443 ssl;": f"listen {HERE}:{port} ssl;",
        "listen [::]:443 ssl;": "",
        "server 127.0.0.1:8000;": f"server {HERE}:{gateway};",
        "/etc/nginx/tls/gateway.pem": str(folder / "gateway.pem"),
        "/etc/nginx/tls/gateway.key": str(folder / "gateway.key"),
        "/etc/nginx/tls/clients.pem": str(folder / "clients.pem"),
        "/run/gateway-nginx.pid": str(folder / "nginx.pid"),
        "/var/log/nginx/gateway-error.log": str(folder / "error.log"),
        "/var/log/nginx/gateway-calls.log": str(folder / "calls.log"),
        "worker_processes auto;": "worker_processes 1;",
        **{f"/run/gateway-nginx-{one}": str(folder / one) for one in STREAMS},
    }
    path = folder / "nginx.conf"
    text = changed(CONFIGURATION.read_text("utf-8"), changes)
    path.write_text(changed(text, places), "utf-8")
    return path


@asynccontextmanager
async def running(
    folder: Path, gateway: int, changes: Mapping[str, str] | None = None
) -> AsyncIterator[Nginx]:
    """One before the gateway on that port; it is gone afterwards."""
    nginx = Nginx(folder, free_port())
    write_certificate(folder, "gateway", NAME)
    write_certificate(folder, "clients", "bank.example")
    written = write_configuration(folder, nginx.port, gateway, changes or {})
    process = _start(folder, written)
    try:
        await _listening(process, nginx)
        yield nginx
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, START_SECONDS)


def _start(folder: Path, configuration: Path) -> "subprocess.Popen[bytes]":
    errors = str(folder / "error.log")
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(  # noqa: S603 - found by its name, our own file
            [program(), "-e", errors, "-c", str(configuration), "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


async def _listening(process: "subprocess.Popen[bytes]", nginx: Nginx) -> None:
    deadline = time.monotonic() + START_SECONDS
    said = nginx.folder / "said"
    while is_free(nginx.port) or not psutil.Process(process.pid).children():
        assert process.poll() is None, said.read_text("utf-8")
        assert time.monotonic() < deadline, said.read_text("utf-8")
        await asyncio.sleep(0.05)

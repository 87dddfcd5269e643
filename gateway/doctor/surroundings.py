"""What surrounds the gateway on this machine: switches, disks, certificates, networks."""

import ipaddress
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway.clock import SECOND
from gateway.doctor.finding import Finding, unsafe, warning

# Who reads the first two takes nothing but 1, Python whatever is not empty.
_SWITCHES: Final = {
    "LITESTAR_DEBUG": "1",
    "LITESTAR_PDB": "1",
    "PYTHONASYNCIODEBUG": "",
}
CLOCK_APART: Final = SECOND
FULLEST: Final = 0.8
CERTIFICATE_LEFT: Final = timedelta(days=30)
_CERTIFICATES: Final = ("sslcert", "sslrootcert", "ssl_certfile", "ssl_ca_certs")
_VERIFIED: Final = {"verify-full", "verify-ca"}


def debugging(environment: Mapping[str, str], *, dev_mode: bool) -> list[Finding]:
    """Switches by which arguments of calls, and so residents, reach logs or answers."""
    on = [
        name
        for name, value in _SWITCHES.items()
        if (given := environment.get(name)) and given == (value or given)
    ]
    if dev_mode:
        on.append("PYTHONDEVMODE, or -X dev,")
    says = "{} is on, so that what callers send reaches logs or answers: unset it."
    return [unsafe("debug", says.format(name)) for name in on]


def fullness(folder: str, total: int, free: int) -> list[Finding]:
    """A disk of `total` bytes, by the words that name the folder on it."""
    if free >= total * (1 - FULLEST):
        return []
    used = 100 - 100 * free // total
    return [warning("disk", f"The disk of {folder} is {used} % full: make room.")]


def on_the_way(setting: str, url: str) -> list[Finding]:
    """Whether what goes to a server of another machine can be read or answered by others."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if all(map(_is_here, hosts)):
        return []
    mode = parse_qs(parts.query).get("sslmode", [""])[0]
    if parts.scheme.startswith("rediss") or mode in _VERIFIED:
        return []
    want = "rediss://" if parts.scheme.startswith("redis") else "sslmode=verify-full"
    says = (
        f"{setting} goes to another machine without TLS that verifies it: use {want}."
    )
    return [warning("no-tls", says)]


def _is_here(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def certificates(setting: str, url: str, now: datetime) -> list[Finding]:
    """The certificates that a DSN or URL names, which end or cannot be read."""
    named = parse_qs(urlsplit(url).query)
    found = []
    for word in _CERTIFICATES:
        for path in named.get(word, ()):
            found += _certificate(
                f"The certificate that {setting} names as {word}", path, now
            )
    return found


def _certificate(name: str, path: str, now: datetime) -> list[Finding]:
    from cryptography import x509  # noqa: PLC0415 - a start that names none waits for it

    try:
        held = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError):
        return [warning("certificate", f"{name} cannot be read: put it there as PEM.")]
    ends = min(one.not_valid_after_utc for one in held)
    if ends > now + CERTIFICATE_LEFT:
        return []
    says = f"{name} ends at {ends:%Y-%m-%dT%H:%M:%SZ}: put another in its place."
    return [warning("certificate", says)]


def clock_apart(server: str, told: int, before: int, after: int) -> list[Finding]:
    """A server's instant, asked for between two of this machine's, in microseconds."""
    apart = max(before - told, told - after)
    if apart <= CLOCK_APART:
        return []
    seconds = apart / SECOND
    says = f"The clocks of {server} and of this machine are {seconds:,.1f} s apart: run NTP."
    return [warning("clock", says)]

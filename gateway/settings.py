"""Settings from the environment, and the numbered secrets in the files they name.

A bad or missing setting is a `BadSetting` whose text is a sentence for a person;
the command line prints it and ends with exit code 78 (EX_CONFIG of sysexits.h).
Values are never repeated in it: a DSN holds a password.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    DirectoryPath,
    Field,
    PostgresDsn,
    RedisDsn,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SHORTEST_SECRET = 32
NIK_DIGITS = 16
S = TypeVar("S", bound="GatewaySettings")


class BadSetting(Exception):
    """The text is one sentence saying what to change."""


# A note's origin and key name: no spaces, no plus sign (C2SP signed-note).
LogOrigin = Annotated[str, StringConstraints(pattern=r"^[!-*,-~]{1,255}$")]


CLUSTER_SCHEMES = {"redis+cluster://": "redis://", "rediss+cluster://": "rediss://"}
_ONE_REDIS = TypeAdapter(RedisDsn)


def cluster_seeds(url: str) -> list[str]:
    """`redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT,…` as a URL for each node."""
    for scheme, of_one in CLUSTER_SCHEMES.items():
        if url.startswith(scheme):
            access, at, hosts = url.removeprefix(scheme).rpartition("@")
            nodes = hosts.rstrip("/").split(",")
            return [f"{of_one}{access}{at}{host}" for host in nodes]
    return []


def _redis_url(url: str) -> str:
    try:
        for one in cluster_seeds(url) or [url]:
            _ONE_REDIS.validate_python(one)
    except ValidationError:
        # Its own text would repeat the URL, which holds a password.
        want = "want redis://… or rediss://…, or redis+cluster://HOST:PORT,HOST:PORT,…"
        raise ValueError(want) from None
    return url


# One server, or some nodes of a cluster, by which the others are found.
RedisUrl = Annotated[str, AfterValidator(_redis_url)]

Network = IPv4Network | IPv6Network


def _networks(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        networks = [ip_network(one.strip()) for one in text.split(",") if one]
    except ValueError:
        networks = []
    if text and not (networks and all(map(_can_be_trusted, networks))):
        want = "want networks such as 10.1.2.0/24,10.1.3.7, not all there is"
        raise ValueError(want)
    return tuple(networks)


def _can_be_trusted(network: Network) -> bool:
    # Of everybody, whoever calls would choose the address that they are entered with;
    # addresses come unwrapped, so a mapped network would be nobody's.
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        return False
    return network.prefixlen > 0


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]


ARRIVAL_PATH = "/console/oidc/arrival"


def is_safe_url(text: str) -> bool:
    """Whether it is https to a named host, or http that does not leave this machine."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    if not (text.isascii() and text.isprintable()) or " " in text or "@" in text:
        return False
    if not parts.hostname or parts.query or parts.fragment:
        return False
    loopback = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return parts.scheme == "https" or (parts.scheme == "http" and loopback)


def _safe_url(text: str) -> str:
    if not is_safe_url(text):
        # Its own text would repeat what may hold a password.
        raise ValueError("want https://HOST/…, or http://localhost:PORT/…")
    return text


def _arrival(text: str) -> str:
    if urlsplit(_safe_url(text)).path != ARRIVAL_PATH:
        raise ValueError(f"want https://HOST{ARRIVAL_PATH}")
    return text


class GatewaySettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", extra="ignore", frozen=True, hide_input_in_errors=True
    )


class ServeSettings(GatewaySettings):
    """What a worker needs. Each DSN logs in as the role named in sql/roles.sql."""

    postgres_dsn: PostgresDsn
    registry_dsn: PostgresDsn
    auditor_dsn: PostgresDsn
    receipts_dsn: PostgresDsn
    # Without it this gateway keeps no partners: it could not, whoever takes it over.
    admin_dsn: PostgresDsn | None = None
    redis_url: RedisUrl
    pepper_file: Path
    subject_keys_file: Path
    signing_key_file: Path
    log_origin: LogOrigin
    archive_dir: Path | None = None
    # NIKs that nobody has and nobody lawfully asks about.
    canaries_file: Path | None = None
    claims_a_day: int = Field(default=5, ge=1, le=100)
    # A search for a person needs a second auditor.
    audit_four_eyes: bool = False
    # What lets anybody do more needs a second admin; of quotas, more than so many a day.
    admin_four_eyes: bool = False
    admin_four_eyes_above: int = Field(default=100_000, ge=0, le=10**12)
    # On the file system of PostgreSQL's data, where it is on this host.
    log_disk: DirectoryPath | None = None
    # Those whose X-Forwarded-For is taken for the caller's address.
    trusted_proxies: Networks = ()
    host: IPv4Address = IPv4Address("127.0.0.1")
    port: int = Field(default=8000, ge=1, le=65535)
    workers: int | None = Field(default=None, ge=1, le=256)

    @property
    def worker_count(self) -> int:
        return self.workers or os.cpu_count() or 1


class TraceSettings(GatewaySettings):
    """OpenTelemetry's own, as far as they say whether there are traces and how."""

    model_config = SettingsConfigDict(env_prefix="OTEL_", env_ignore_empty=True)

    exporter_otlp_endpoint: AnyHttpUrl | None = None
    exporter_otlp_traces_endpoint: AnyHttpUrl | None = None
    exporter_otlp_protocol: Literal["http/protobuf"] = "http/protobuf"
    exporter_otlp_traces_protocol: Literal["http/protobuf"] = "http/protobuf"
    sdk_disabled: bool = False

    @property
    def wanted(self) -> bool:
        endpoint = self.exporter_otlp_traces_endpoint or self.exporter_otlp_endpoint
        return endpoint is not None and not self.sdk_disabled


class OidcSettings(GatewaySettings):
    """Signing in to the console at an OpenID provider, where any of these is set."""

    oidc_issuer: Annotated[str, AfterValidator(_safe_url)]
    oidc_client_id: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
    oidc_client_secret_file: Path
    oidc_redirect_uri: Annotated[str, AfterValidator(_arrival)]
    # Which claim of the ID token names a member of staff.
    oidc_claim: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")] = "sub"


class SealSettings(GatewaySettings):
    """What the sealer needs."""

    sealer_dsn: PostgresDsn
    pepper_file: Path
    signing_key_file: Path
    log_origin: LogOrigin
    witnesses_file: Path | None = None


class WitnessSettings(GatewaySettings):
    """What `gateway witness` needs: its name and key, the logs' keys, its memory.

    It runs where neither the log's database nor its signing key can be reached.
    """

    witness_name: LogOrigin
    witness_key_file: Path
    witness_logs_file: Path
    witness_state_file: Path
    witness_host: IPv4Address = IPv4Address("127.0.0.1")
    witness_port: int = Field(default=8100, ge=1, le=65535)


class AuditorSettings(GatewaySettings):
    """What reading the log needs."""

    auditor_dsn: PostgresDsn
    archive_dir: Path | None = None


class ReconcileSettings(GatewaySettings):
    """What holding counters against the log needs."""

    auditor_dsn: PostgresDsn
    redis_url: RedisUrl


class AdminSettings(GatewaySettings):
    """What the commands that keep institutions, agreements, keys and staff need."""

    admin_dsn: PostgresDsn
    pepper_file: Path


class OwnerSettings(GatewaySettings):
    """What `gateway migrate` needs: the role that owns every object."""

    owner_dsn: PostgresDsn


class HoldSettings(GatewaySettings):
    """What holds need: the owner of the list, and the key of their entries' batches."""

    owner_dsn: PostgresDsn
    pepper_file: Path


class ArchiveSettings(HoldSettings):
    """What archiving and expiring need besides: the folder of the files."""

    archive_dir: Path


def read_settings(kind: type[S]) -> S:
    """Reads the environment.

    Raises:
        BadSetting: naming every variable that is missing or bad, without its value.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config["env_prefix"]
        complaints = [
            f"{prefix}{str(fault['loc'][0]).upper()} is "
            + ("missing" if fault["type"] == "missing" else f"bad ({fault['msg']})")
            for fault in error.errors(include_input=False, include_url=False)
        ]
        raise BadSetting("; ".join(complaints) + ".") from None


def read_oidc() -> OidcSettings | None:
    """Reads the environment; None where no GATEWAY_OIDC_* is set.

    Raises:
        BadSetting: some of them are missing or bad.
    """
    if not any(name.upper().startswith("GATEWAY_OIDC_") for name in os.environ):
        return None
    return read_settings(OidcSettings)


def read_client_secret(path: Path) -> str:
    """The one word that the file holds.

    Raises:
        BadSetting: if the file is missing, open to others, or not of that form.
    """
    setting = "GATEWAY_OIDC_CLIENT_SECRET_FILE"
    words = _read_private(path, setting)
    if len(words) != 1:
        raise BadSetting(f"{setting} must hold the client's secret and nothing else.")
    return words[0]


def _read_private(path: Path, setting: str) -> list[str]:
    """The words of a file that nobody else may read.

    Raises:
        BadSetting: if it is missing, or open to others.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        raise BadSetting(f"{setting} names no readable text file.") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSetting(f"{setting} is open to other users; chmod it 0600.")
    return lines


def read_canaries(path: Path | None) -> frozenset[str]:
    """NIKs that nobody has, one a line; none where there is no file.

    Raises:
        BadSetting: if the file is missing, open to others, or not of that form.
    """
    if path is None:
        return frozenset()
    setting = "GATEWAY_CANARIES_FILE"
    niks = frozenset(_read_private(path, setting))
    if not all(len(nik) == NIK_DIGITS and nik.isdecimal() for nik in niks):
        raise BadSetting(f"{setting} must hold NIKs of 16 digits, one a line.")
    return niks


@dataclass(frozen=True, slots=True)
class NumberedKeys:
    """Secrets by number: the newest writes, every one is tried when reading."""

    by_number: Mapping[int, bytes]

    @property
    def newest(self) -> int:
        return max(self.by_number)

    @classmethod
    def read(cls, path: Path, *, setting: str) -> "NumberedKeys":
        """Reads lines of `number:hex`, each secret of at least 32 bytes.

        Raises:
            BadSetting: if the file is missing, open to others, or not of that form.
        """
        lines = _read_private(path, setting)
        try:
            numbered = [line.split(":") for line in lines]
            by_number = {int(number): bytes.fromhex(key) for number, key in numbered}
        except ValueError:
            raise BadSetting(f"{setting} must hold lines of number:hex.") from None
        in_range = all(0 < number < 2**15 for number in by_number)
        long_enough = all(len(key) >= SHORTEST_SECRET for key in by_number.values())
        if not (lines and len(by_number) == len(lines) and in_range and long_enough):
            raise BadSetting(
                f"{setting} must hold secrets of 32 bytes or more, each under its own "
                "number from 1 to 32767."
            )
        return cls(by_number)

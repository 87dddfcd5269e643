"""Switches, disks, networks and certificates as the doctor judges them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.doctor import upkeep
from gateway.doctor.surroundings import (
    certificates,
    clock_apart,
    debugging,
    fullness,
    on_the_way,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SETTING = "GATEWAY_POSTGRES_DSN"


@pytest.mark.parametrize(
    ("name", "value", "on"),
    [
        ("LITESTAR_DEBUG", "1", True),
        ("LITESTAR_DEBUG", "0", False),
        ("LITESTAR_PDB", "1", True),
        ("PYTHONASYNCIODEBUG", "yes", True),
        ("PYTHONASYNCIODEBUG", "", False),
    ],
)
def test_a_switch_counts_as_whoever_reads_it_takes_it(
    name: str, value: str, *, on: bool
) -> None:
    assert bool(debugging({name: value}, dev_mode=False)) is on


def test_pythons_development_mode_is_debugging() -> None:
    (found,) = debugging({}, dev_mode=True)
    assert found.says.startswith("PYTHONDEVMODE, or -X dev, is on")


def test_a_disk_is_nearly_full_from_four_fifths_on() -> None:
    assert fullness("the archive", 1_000, 200) == []
    (found,) = fullness("the archive", 1_000, 199)
    assert "The disk of the archive is 81 % full" in found.says


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("postgresql://u:p@127.0.0.1:5432/g?sslmode=disable", False),
        ("postgresql://u:p@localhost/g", False),
        ("postgresql://u:p@[::1]:5432/g", False),
        ("postgresql://u:p@db.example:5432/g", True),
        ("postgresql://u:p@db.example:5432/g?sslmode=require", True),
        ("postgresql://u:p@db.example:5432/g?sslmode=verify-full", False),
        ("redis://:p@10.0.0.7:6379/0", True),
        ("rediss://:p@10.0.0.7:6379/0", False),
        ("redis+cluster://:p@127.0.0.1:7000,b.example:7001", True),
        ("redis+cluster://:p@127.0.0.1:7000,127.0.0.1:7001", False),
    ],
)
def test_a_way_over_a_network_without_tls_is_warned_of(
    url: str, *, warned: bool
) -> None:
    found = on_the_way(SETTING, url)
    assert [one.check for one in found] == ["no-tls"] * warned
    assert not any("example" in one.says for one in found)


def certificate(path: Path, ends: datetime) -> Path:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .sign(key, None)
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("left", "warned"),
    [(timedelta(days=31), False), (timedelta(days=29), True), (-timedelta(1), True)],
)
def test_a_certificate_that_ends_within_a_month_is_warned_of(
    tmp_path: Path, left: timedelta, *, warned: bool
) -> None:
    path = certificate(tmp_path / "ca.pem", NOW + left)
    for url in (
        f"postgresql://u:p@h/d?sslmode=verify-full&sslrootcert={path}",
        f"rediss://h:6379/0?ssl_ca_certs={path}",
    ):
        found = certificates(SETTING, url, NOW)
        assert [one.check for one in found] == ["certificate"] * warned
        assert all("ends at 2026-1" in one.says for one in found)


def test_a_certificate_that_cannot_be_read_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for name in ("no.pem", "missing.pem"):
        url = f"postgresql://u:p@h/d?sslcert={tmp_path / name}"
        (found,) = certificates(SETTING, url, NOW)
        assert "cannot be read" in found.says


def test_a_clock_is_judged_by_the_two_instants_around_its_answer() -> None:
    # A slow answer is no fault of the clock.
    assert clock_apart("a server", 5_000_000, 4_000_000, 9_000_000) == []
    assert clock_apart("a server", 3_000_000, 4_000_000, 4_100_000) == []
    (behind,) = clock_apart("a server", 2_500_000, 4_000_000, 4_100_000)
    (ahead,) = clock_apart("a server", 5_600_000, 4_000_000, 4_100_000)
    assert all("1.5 s apart" in one.says for one in (behind, ahead))


def test_partitions_are_wanted_for_today_in_jakarta_and_three_days_after() -> None:
    at_midnight = 1_795_971_600_000_000  # 2026-11-30T00:00:00+07:00
    missing = upkeep.missing_days([None], at_midnight)
    assert [str(day) for day in missing] == [
        *("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03")
    ]
    assert upkeep.missing_days(missing, at_midnight - 1)[0].day == 29

"""What a header says of a client certificate, and who needs which."""

import ssl
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import SECOND
from gateway.edge.certificates import LONGEST, presented
from gateway.partners.certificates import Bindings, Certificate
from gateway.partners.terms import read_fingerprint
from gateway.problems import Fault, Unauthenticated
from tests.acceptance.nginx import write_certificate

NOW = 1_800_000_000 * SECOND
OURS, NEXT, OTHER = (bytes([n]) * 32 for n in (1, 2, 3))


def pem(body: str) -> bytes:
    text = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    return quote(text, safe="").encode()


def test_a_certificate_is_known_by_the_sha_256_of_its_der(tmp_path: Path) -> None:
    write_certificate(tmp_path, "bank", "bank.example")
    text = (tmp_path / "bank.pem").read_text("ascii")
    der = ssl.PEM_cert_to_DER_cert(text)
    for safe in ("", "/+="):
        assert presented([quote(text, safe=safe).encode()]) == sha256(der).digest()


@pytest.mark.parametrize(
    "told",
    [
        [],
        [b""],
        [b"(null)"],
        [pem("")],
        [pem("AAA")],
        [pem("A=AA")],
        [pem("AAAA") * 2],
        [b"x" + pem("AAAA")],
        [pem("AAAA"), pem("AAAA")],
        [pem("A" * LONGEST)],
    ],
)
def test_what_is_not_exactly_one_certificate_is_none(told: list[bytes]) -> None:
    assert presented(told) is None


@given(told=st.lists(st.binary(max_size=200), max_size=2))
def test_whatever_is_told_is_a_digest_or_nothing(told: list[bytes]) -> None:
    found = presented(told)
    assert found is None or len(found) == 32


@pytest.mark.parametrize("text", [OURS.hex(), OURS.hex(":").upper()])
def test_a_fingerprint_is_read_as_openssl_and_sha256sum_print_it(text: str) -> None:
    faults: list[Fault] = []
    assert read_fingerprint(text, faults) == OURS
    assert faults == []


@pytest.mark.parametrize(
    "text", [None, 7, "", OURS.hex()[:-1], OURS.hex() + "0", "g" * 64, "\uff11" * 64]
)
def test_what_is_no_fingerprint_is_refused(text: object) -> None:
    faults: list[Fault] = []
    read_fingerprint(text, faults)
    assert [fault.pointer for fault in faults] == ["/fingerprint"]


def binding(
    number: int, fingerprint: bytes, not_after: int = NOW + 1, unbound_at: int = 0
) -> Certificate:
    ended = unbound_at or None
    return Certificate(number, 7, fingerprint, "of a test", not_after, NOW, ended)


def admitted(bindings: Bindings, institution: int | None = 7) -> list[bytes | None]:
    """Which of these open the institution's keys, None being no certificate at all."""
    found: list[bytes | None] = []
    for shown in (None, b"", OURS, NEXT, OTHER):
        try:
            bindings.check(institution, 5, shown, NOW)
        except Unauthenticated:
            continue
        found.append(shown)
    return found


EVERYTHING = [None, b"", OURS, NEXT, OTHER]


def test_who_is_bound_to_none_needs_none() -> None:
    bindings = Bindings()
    assert admitted(bindings) == EVERYTHING
    bindings.apply([binding(1, OURS)])
    assert admitted(bindings, 8) == admitted(bindings, None) == EVERYTHING


def test_any_of_those_bound_opens_and_nothing_else() -> None:
    bindings = Bindings()
    bindings.apply([binding(1, OURS), binding(2, NEXT)])
    assert admitted(bindings) == [OURS, NEXT]
    bindings.apply([binding(1, OURS, unbound_at=NOW)])
    assert admitted(bindings) == [NEXT]


def test_a_binding_that_is_over_still_binds_and_opens_nothing() -> None:
    bindings = Bindings()
    bindings.apply([binding(1, OURS, not_after=NOW)])
    assert admitted(bindings) == []
    # The same certificate, bound anew for longer.
    bindings.apply([binding(1, OURS, NOW, NOW), binding(2, OURS)])
    assert admitted(bindings) == [OURS]


def test_without_the_last_binding_an_institution_needs_none_again() -> None:
    bindings = Bindings()
    bindings.apply([binding(1, OURS)])
    bindings.apply([binding(1, OURS, unbound_at=NOW)])
    assert admitted(bindings) == EVERYTHING

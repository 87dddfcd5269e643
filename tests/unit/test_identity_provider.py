"""How an OpenID provider is asked, and which of its keys and claims are taken."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, RSAKey

from gateway.clock import to_datetime
from gateway.oidc import id_token, provider
from gateway.oidc.departure import SECONDS, Departure, Departures
from gateway.oidc.id_token import NotBelieved
from gateway.oidc.provider import IdentityProvider, Metadata, ProviderUnavailable
from gateway.settings import ARRIVAL_PATH, NumberedKeys, OidcSettings

NOW = 1_800_000_000
PEPPERS = NumberedKeys({1: b"p" * 32})
Serve = Any


def identity_provider(tmp_path: Path, issuer: str) -> IdentityProvider:
    secret = tmp_path / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text("secret", "ascii")
    return IdentityProvider(
        OidcSettings(
            oidc_issuer=issuer,
            oidc_client_id="gateway",
            oidc_client_secret_file=secret,
            oidc_redirect_uri=f"https://gateway.example{ARRIVAL_PATH}",
        )
    )


@asynccontextmanager
async def listening(
    serve: Serve, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def context_of_nobody(folder: Path) -> ssl.SSLContext:
    """A server's certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    began = to_datetime(NOW * 1_000_000) - timedelta(days=3650)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_provider_whose_certificate_nobody_signed_is_not_asked(
    tmp_path: Path,
) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    async with listening(serve, context_of_nobody(tmp_path)) as port:
        asked = identity_provider(tmp_path, f"https://127.0.0.1:{port}")
        with pytest.raises(ProviderUnavailable, match="ConnectError"):
            await asked.address(Departure.make())
        await asked.close()
    assert b"".join(heard) == b""


async def test_a_provider_that_hangs_holds_nobody_up_for_long_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr(provider, "PAUSE_SECONDS", 0.3)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        # Until the other side gives up.
        await reader.read()
        writer.close()

    async with listening(serve) as port:
        asked = identity_provider(tmp_path, f"http://127.0.0.1:{port}")
        many = await asyncio.gather(
            *(asked.address(Departure.make()) for _ in range(20)),
            return_exceptions=True,
        )
        assert {type(one) for one in many} == {ProviderUnavailable}
        assert len(heard) == 1
        await asyncio.sleep(0.4)
        with pytest.raises(ProviderUnavailable, match="TimeoutError"):
            await asked.address(Departure.make())
        assert len(heard) == 2
        await asked.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"},
        {"issuer": "https://identity.example/"},
        {"token_endpoint": "http://identity.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "https://identity.example/auth?prompt=none"},
    ],
)
def test_a_provider_is_taken_at_its_word_only_where_that_is_safe(
    changed: dict[str, object],
) -> None:
    issuer = "https://identity.example"
    told: dict[str, object] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
    }
    assert not Metadata.read(told, issuer).tells_issuer
    with pytest.raises(ValueError, match=r"of another|without safe"):
        Metadata.read(told | changed, issuer)


def test_keys_that_are_not_for_signatures_are_as_if_they_were_not_there() -> None:
    signing = ECKey.generate_key("P-256", {"kid": "a", "use": "sig"})
    neither = RSAKey.generate_key(2048, {"kid": "b"})
    sealing = ECKey.generate_key("P-256", {"kid": "c", "use": "enc"})
    documents = [one.as_dict(private=False) for one in (signing, neither, sealing)]
    broken = {"kty": "EC", "crv": "P-256", "x": "!", "kid": "d"}
    kept = id_token.read_keys({"keys": [*documents, broken, {"kty": "AKP"}, 7]})
    assert [one.kid for one in kept] == ["a", "b"]
    nothing: tuple[object, ...] = (None, {}, {"keys": "a"}, [])
    for no_set in nothing:
        with pytest.raises(TypeError):
            id_token.read_keys(no_set)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"email": "a@b.example", "email_verified": True}, "a@b.example"),
        ({"email": "a@b.example", "email_verified": False}, None),
        ({"email": "a@b.example", "email_verified": "true"}, None),
        ({"email": "a@b.example"}, None),
        ({"email": 7, "email_verified": True}, None),
        ({}, None),
        ({"email": "a" * 256, "email_verified": True}, None),
        ({"email": "a\0b", "email_verified": True}, None),
        ({"email": "\ud800", "email_verified": True}, None),
    ],
)
def test_an_address_names_somebody_once_the_provider_has_verified_it(
    claims: dict[str, object], named: str | None
) -> None:
    if named is not None:
        assert id_token.subject(claims, "email") == named
        return
    with pytest.raises(NotBelieved):
        id_token.subject(claims, "email")


def test_a_departure_is_readable_to_us_alone_and_for_ten_minutes() -> None:
    departures, departure = Departures(PEPPERS), Departure.make()
    sealed = departures.seal(departure, NOW)
    assert departures.open(sealed, NOW + SECONDS) == departure
    assert departures.open(sealed, NOW + SECONDS + 1) is None
    assert departures.open(sealed[:-2] + "AA", NOW) is None
    for no_token in ("", "é", "\0", "=", "a" * 5000):
        assert departures.open(no_token, NOW) is None
    others = Departures(NumberedKeys({1: b"q" * 32}))
    assert others.open(sealed, NOW) is None
    secrets = (departure.state, departure.nonce, departure.verifier)
    assert not any(one in sealed + repr(departure) for one in secrets)
    assert len({*secrets}) == 3


def test_the_challenge_is_that_of_the_rfc() -> None:
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert Departure("", "", verifier).challenge == challenge

"""Whether an ID token is to be believed (OpenID Connect Core 1.0, §3.1.3.7). Pure.

Signatures and keys are joserfc's. Allowed are algorithms with two keys only: under one
with a shared key whoever knows the provider's public key could sign.
"""

from collections.abc import Mapping
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
LEEWAY_SECONDS: Final = 60
# OpenID Connect Core 1.0, §2.
LONGEST_SUBJECT: Final = 255
_KEY_TYPES: Final = {"RSA", "EC", "OKP"}
# Says nothing of a person that the provider has not looked into.
_TO_BE_VERIFIED: Final = {
    "email": "email_verified",
    "phone_number": "phone_number_verified",
}
# A header may say more than RFC 7515 knows, which is then ignored (§4).
_REGISTRY: Final = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)

Claims = Mapping[str, Any]


class NotBelieved(Exception):
    """The text says why, in fixed words: nothing of the token."""


class UnknownKey(Exception):
    """None of the keys is the one that signed; the provider may have newer ones."""


def read_keys(document: object) -> KeySet:
    """The keys of a JWK set (RFC 7517) that sign and that we know how to use.

    Raises:
        TypeError: it is no such set.
    """
    if not (isinstance(document, dict) and isinstance(document.get("keys"), list)):
        raise TypeError("no JWK set")
    told = [one for one in document["keys"] if isinstance(one, dict)]
    read = [key for one in told if (key := _read_key(one)) is not None]
    return KeySet(read)


def _read_key(document: dict[str, Any]) -> Key | None:
    """A provider may have keys that are not for us: those are as if they were not there."""
    if document.get("kty") not in _KEY_TYPES or document.get("use", "sig") != "sig":
        return None
    try:
        return JWKRegistry.import_key(document)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def verify(
    token: str, keys: KeySet, *, issuer: str, client: str, nonce: str, now: int
) -> Claims:
    """The token's claims, all of them signed.

    Args:
        token: as the provider's token endpoint gave it.
        keys: the provider's.
        issuer: the provider, exactly as it calls itself.
        client: whom the token must be for.
        nonce: what was sent along when the browser left.
        now: seconds since 1970.

    Raises:
        UnknownKey: of a key that is not among these.
        NotBelieved: anything else is wrong.
    """
    try:
        claims = jwt.decode(
            token, keys, algorithms=ALGORITHMS, registry=_REGISTRY
        ).claims
        JWTClaimsRegistry(
            now=now,
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": client},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
    except InvalidKeyIdError:
        raise UnknownKey from None
    except ClaimError as error:
        raise NotBelieved(f"claim {error.claim}") from None
    except (JoseError, ValueError, TypeError) as error:
        # The error's own text may quote the token.
        raise NotBelieved(f"token {type(error).__name__}") from None
    _check_party(claims, client)
    return claims


def _check_party(claims: Claims, client: str) -> None:
    """A token for several must say that it was us who asked for it."""
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != client:
        raise NotBelieved("claim azp")


def subject(claims: Claims, claim: str) -> str:
    """Whom the token is about, by the claim that names staff here.

    Raises:
        NotBelieved: it has no such claim, or the provider has not verified it.
    """
    named = claims.get(claim)
    if not isinstance(named, str) or not 0 < len(named) <= LONGEST_SUBJECT:
        raise NotBelieved("the claim that names staff is missing, or too long")
    if not named.isprintable():
        # As little as an admin can bind; PostgreSQL refuses some of it.
        raise NotBelieved("the claim that names staff is not printable")
    verified = _TO_BE_VERIFIED.get(claim)
    if verified is not None and claims.get(verified) is not True:
        raise NotBelieved("the claim that names staff is not verified")
    return named

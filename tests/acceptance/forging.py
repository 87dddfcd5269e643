"""ID tokens that the provider did not sign."""

import hmac
import json
from base64 import urlsafe_b64encode

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tests.acceptance.identities import Claims, new_key, signed


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def unsigned(claims: Claims, _: ECKey) -> str:
    parts = ({"alg": "none"}, claims)
    return ".".join(encoded(json.dumps(one).encode()) for one in parts) + "."


def with_the_public_key_as_a_secret(claims: Claims, key: ECKey) -> str:
    # By hand: joserfc makes no such signature.
    parts = ({"alg": "HS256", "kid": key.kid}, claims)
    told = ".".join(encoded(json.dumps(one).encode()) for one in parts)
    shared = key.as_pem(private=False)
    return f"{told}.{encoded(hmac.digest(shared, told.encode(), 'sha256'))}"


def with_a_key_of_the_set_that_is_shared(claims: Claims, _: ECKey) -> str:
    shared = OctKey.import_key({"kty": "oct", "kid": "mac", "k": "c2VjcmV0"})
    return jwt.encode({"alg": "HS256", "kid": "mac"}, claims, shared, ["HS256"])


def with_another_key(claims: Claims, key: ECKey) -> str:
    header = {"alg": "ES256", "kid": key.kid}
    return jwt.encode(header, claims, new_key(), ["ES256"])


def with_a_key_of_nobody(claims: Claims, _: ECKey) -> str:
    return signed(claims, new_key())


def altered(claims: Claims, key: ECKey) -> str:
    head, _, signature = signed(claims, key).split(".")
    body = json.dumps(claims | {"sub": "somebody"}).encode()
    return ".".join((head, encoded(body), signature))

"""Which secrets could be guessed, and that none that is random is taken for one."""

import hashlib
import random

import pytest

from gateway.doctor.finding import Kind
from gateway.doctor.strength import examine, weakness
from gateway.settings import NumberedKeys

CHANCE = random.Random(1945)  # noqa: S311 - the same bytes at every run
PEPPER, SIGNING = "GATEWAY_PEPPER_FILE", "GATEWAY_SIGNING_KEY_FILE"


def test_what_is_random_is_never_called_weak() -> None:
    secrets = [CHANCE.randbytes(size) for size in (32, 40, 64) for _ in range(5_000)]
    assert [secret.hex() for secret in secrets if weakness(secret)] == []


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (bytes(32), "few different bytes"),
        (b"\xab\xcd" * 16, "few different bytes"),
        (bytes(range(32)), "counts up or down"),
        (bytes(range(255, 223, -1)), "counts up or down"),
        (bytes(range(0, 128, 4)), "counts up or down"),
        (bytes(CHANCE.sample(range(256), 31)) * 2, "repeats itself"),
        (b"Correct horse battery staple, 1945!", "is a text"),
        (hashlib.sha256(b"changeme").digest(), "everybody knows"),
        (hashlib.sha256(b"secret\n").digest(), "everybody knows"),
        (
            # RFC 8032 section 7.1, TEST 1.
            bytes.fromhex(
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
            ),
            "everybody knows",
        ),
    ],
)
def test_what_somebody_chose_is_weak(secret: bytes, why: str) -> None:
    assert why in (weakness(secret) or "")


def test_the_newest_is_refused_and_an_old_one_that_has_to_stay_is_warned_of() -> None:
    strong, weak = CHANCE.randbytes(32), bytes(32)
    (new,) = examine({PEPPER: NumberedKeys({1: strong, 2: weak})})
    (old,) = examine({SIGNING: NumberedKeys({1: weak, 2: strong})})
    assert (new.kind, new.check) == (Kind.UNSAFE, "weak-secret")
    assert (old.kind, old.check) == (Kind.WARNING, "weak-old-secret")
    assert f"number 2 of {PEPPER}" in new.says
    assert f"number 1 of {SIGNING}" in old.says


def test_one_secret_for_two_purposes_is_refused() -> None:
    shared = NumberedKeys({1: CHANCE.randbytes(32)})
    (found,) = examine({PEPPER: shared, SIGNING: shared})
    assert (found.kind, found.check) == (Kind.UNSAFE, "shared-secret")
    assert f"number 1 of {PEPPER} and number 1 of {SIGNING}" in found.says
    assert shared.by_number[1].hex()[:8] not in found.says

import pytest

from gateway.keyed import Keyed
from gateway.partners.keys import (
    ALPHABET,
    Environment,
    Kind,
    checksum,
    digest,
    make,
    parse,
)

BODY = "Ab3dE6gH0123456789ABCDEFGHIJKLMNOPabcd"
# Worked out apart from this code, from the contract.
GENUINE = [
    f"gdk_live_{BODY}2EgaMU",
    f"gdk_test_{BODY}3Wwpjh",
    f"gds_live_{BODY}1jvnw3",
    f"gds_test_{BODY}4D84H6",
    "gdk_test_Ab3dE6gH000000000000000000000000020241000D58",
]
LIVE = GENUINE[0]


@pytest.mark.parametrize("text", GENUINE)
def test_a_genuine_key_is_read_and_its_id_is_the_eight_characters(text: str) -> None:
    credential = parse(text)
    assert credential is not None
    assert (credential.id, credential.text) == ("Ab3dE6gH", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gdk_live_",
        LIVE[:-1],
        LIVE + "0",
        LIVE + "\n",
        " " + LIVE,
        "Bearer " + LIVE,
        LIVE.replace("gdk", "gdx"),
        LIVE.replace("live", "prod"),
        LIVE.replace("gdk", "GDK"),
        LIVE.replace("Ab3", "Ab-"),
        LIVE.replace("Ab3", "Ab٣"),
        LIVE.replace("Ab3", "Ab\x00"),
    ],
)
def test_a_malformed_key_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("place", [2, 5, 9, 16, 17, 46, 47, 52])
def test_one_wrong_character_anywhere_is_seen_without_a_lookup(place: int) -> None:
    wrong = ALPHABET[(ALPHABET.index(LIVE[place]) + 1) % len(ALPHABET)]
    assert parse(LIVE[:place] + wrong + LIVE[place + 1 :]) is None


def test_the_prefix_is_part_of_the_checksum() -> None:
    assert parse(LIVE.replace("live", "test")) is None


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("environment", Environment)
def test_what_is_made_is_read(kind: Kind, environment: Environment) -> None:
    made = make(kind, environment)
    assert made.text.startswith(f"{kind.value}_{environment.value}_{made.id}")
    assert len(made.text) == 53
    assert parse(made.text) == made


def test_no_two_keys_are_alike() -> None:
    made = [make(Kind.INSTITUTION, Environment.LIVE) for _ in range(200)]
    assert len({credential.id for credential in made}) == 200
    assert len({credential.text[17:47] for credential in made}) == 200


def test_the_checksum_is_padded_with_zeros() -> None:
    assert checksum("gdk_test_Ab3dE6gH000000000000000000000000020241") == "000D58"


def test_the_digest_is_hmac_sha256_of_the_whole_text() -> None:
    # openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    assert digest(LIVE, Keyed(b"0123456789abcdef" * 2)).hex() == (
        "02e58b7d032c19ad6c2549f081384e35471db85083639268bbcc5827208a30ed"
    )


def test_a_credential_in_a_traceback_shows_its_id_and_no_secret() -> None:
    credential = parse(LIVE)
    assert repr(credential) == "Credential(id='Ab3dE6gH')"
    assert f"{credential}" == repr(credential)

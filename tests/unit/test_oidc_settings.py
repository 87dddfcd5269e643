"""The settings of an OpenID provider: all of them or none, and only safe addresses."""

from pathlib import Path

import pytest

from gateway.settings import BadSetting, is_safe_url, read_client_secret, read_oidc

GOOD = {
    "GATEWAY_OIDC_ISSUER": "https://identity.example/realms/ministry",
    "GATEWAY_OIDC_CLIENT_ID": "gateway",
    "GATEWAY_OIDC_CLIENT_SECRET_FILE": "client-secret",
    "GATEWAY_OIDC_REDIRECT_URI": "https://gateway.example/console/oidc/arrival",
}
HIDDEN = "hunter2hunter2"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("GATEWAY_OIDC_CLAIM", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def complaint() -> str:
    with pytest.raises(BadSetting) as bad:
        read_oidc()
    return str(bad.value)


@pytest.mark.usefixtures("environment")
def test_staff_are_named_by_sub_unless_another_claim_is_set() -> None:
    read = read_oidc()
    assert read is not None
    assert (read.oidc_issuer, read.oidc_claim) == (GOOD["GATEWAY_OIDC_ISSUER"], "sub")


def test_without_any_of_them_there_is_no_provider(
    environment: pytest.MonkeyPatch,
) -> None:
    for name in GOOD:
        environment.delenv(name)
    assert read_oidc() is None
    # One alone is a mistake, and all that are missing are named.
    environment.setenv("GATEWAY_OIDC_CLAIM", "email")
    assert all(f"{name} is missing" in complaint() for name in GOOD)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_OIDC_ISSUER", f"http://identity.example/{HIDDEN}"),
        ("GATEWAY_OIDC_ISSUER", f"https://root:{HIDDEN}@identity.example"),
        ("GATEWAY_OIDC_CLIENT_ID", f"{HIDDEN}\n"),
        ("GATEWAY_OIDC_REDIRECT_URI", f"https://gateway.example/{HIDDEN}"),
        ("GATEWAY_OIDC_CLAIM", f"{HIDDEN} and more"),
    ],
)
def test_a_bad_one_is_named_and_not_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    said = complaint()
    assert f"{name} is bad" in said
    assert said.count("GATEWAY_") == 1
    assert HIDDEN not in said


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://identity.example", True),
        ("https://identity.example:8443/realms/a", True),
        ("http://localhost:8080/realms/a", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("https://identity.example/?a=b", False),
        ("https://identity.example/#a", False),
        ("https://identity.example:port", False),
        ("https://identity.example/a b", False),
        ("https://identity.example\n.evil.example", False),
        ("https:///realms", False),
        ("ftp://identity.example", False),
        ("", False),
    ],
)
def test_what_is_safe_is_https_or_stays_on_this_machine(
    url: str, *, safe: bool
) -> None:
    assert is_safe_url(url) is safe


def test_the_clients_secret_is_one_word_that_nobody_else_reads(tmp_path: Path) -> None:
    file = tmp_path / "client-secret"
    file.touch(mode=0o600)
    file.write_text(f"{HIDDEN}\n", "ascii")
    assert read_client_secret(file) == HIDDEN
    file.write_text(f"{HIDDEN} more", "ascii")
    with pytest.raises(BadSetting) as bad:
        read_client_secret(file)
    assert HIDDEN not in str(bad.value)
    file.write_text(HIDDEN, "ascii")
    file.chmod(0o640)
    with pytest.raises(BadSetting, match="open to other users"):
        read_client_secret(file)

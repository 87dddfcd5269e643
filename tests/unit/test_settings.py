"""Settings: every bad one named at once, no value ever repeated."""

from pathlib import Path

import pytest

from gateway.settings import (
    AdminSettings,
    BadSetting,
    NumberedKeys,
    OwnerSettings,
    ServeSettings,
    cluster_seeds,
    read_canaries,
    read_settings,
)

PASSWORD = "hunter2hunter2"  # noqa: S105 - nobody's
DSN = f"postgres://gateway_hot:{PASSWORD}@127.0.0.1:5432/gateway"
GOOD = {
    "GATEWAY_POSTGRES_DSN": DSN,
    "GATEWAY_REGISTRY_DSN": DSN,
    "GATEWAY_AUDITOR_DSN": DSN,
    "GATEWAY_RECEIPTS_DSN": DSN,
    "GATEWAY_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:6379/0",
    "GATEWAY_PEPPER_FILE": "pepper",
    "GATEWAY_SUBJECT_KEYS_FILE": "subjects",
    "GATEWAY_SIGNING_KEY_FILE": "signing",
    "GATEWAY_LOG_ORIGIN": "log.example/residents",
}
SECRET = "ab" * 32


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with every setting of a worker and no other of ours."""
    others = ("HOST", "PORT", "WORKERS", "TRUSTED_PROXIES")
    for name in (*GOOD, *(f"GATEWAY_{other}" for other in others)):
        monkeypatch.delenv(name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def complaint() -> str:
    with pytest.raises(BadSetting) as bad:
        read_settings(ServeSettings)
    return str(bad.value)


@pytest.mark.usefixtures("environment")
def test_a_worker_starts_from_the_environment() -> None:
    settings = read_settings(ServeSettings)
    assert str(settings.postgres_dsn) == DSN
    assert settings.pepper_file == Path("pepper")
    assert (str(settings.host), settings.port) == ("127.0.0.1", 8000)


def test_every_missing_setting_is_named_at_once(
    environment: pytest.MonkeyPatch,
) -> None:
    for name in GOOD:
        environment.delenv(name)
    said = complaint()
    assert all(f"{name} is missing" in said for name in GOOD)


@pytest.mark.parametrize("kind", [AdminSettings, OwnerSettings])
def test_a_command_asks_only_for_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, kind: type[AdminSettings | OwnerSettings]
) -> None:
    for name in kind.model_fields:
        monkeypatch.delenv(f"GATEWAY_{name.upper()}", raising=False)
    with pytest.raises(BadSetting) as bad:
        read_settings(kind)
    assert str(bad.value).count("GATEWAY_") == len(kind.model_fields)


BAD = {
    "GATEWAY_POSTGRES_DSN": f"mysql://root:{PASSWORD}@127.0.0.1/gateway",
    "GATEWAY_REDIS_URL": f"not a url with {PASSWORD}",
    "GATEWAY_HOST": f"{PASSWORD}.example",
    "GATEWAY_PORT": "65536",
    "GATEWAY_WORKERS": "none",
    "GATEWAY_TRUSTED_PROXIES": f"10.0.0.0/8,{PASSWORD}",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_setting_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, BAD[name])
    said = complaint()
    assert f"{name} is bad" in said
    assert said.count("GATEWAY_") == 1


@pytest.mark.usefixtures("environment")
def test_no_proxy_is_trusted_unless_it_is_named() -> None:
    assert read_settings(ServeSettings).trusted_proxies == ()


def test_proxies_are_named_by_their_networks_and_addresses(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1,fd00::/8")
    named = read_settings(ServeSettings).trusted_proxies
    assert list(map(str, named)) == ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"]


@pytest.mark.parametrize(
    "networks", ["0.0.0.0/0", "10.0.0.0/8,::/0", "10.0.0.1/8", "::ffff:10.0.0.0/104"]
)
def test_networks_that_cannot_be_proxies_are_refused(
    environment: pytest.MonkeyPatch, networks: str
) -> None:
    environment.setenv("GATEWAY_TRUSTED_PROXIES", networks)
    assert "GATEWAY_TRUSTED_PROXIES is bad" in complaint()


def test_bad_and_missing_settings_are_named_together_and_no_value_is_repeated(
    environment: pytest.MonkeyPatch,
) -> None:
    for name, value in BAD.items():
        environment.setenv(name, value)
    environment.delenv("GATEWAY_PEPPER_FILE")
    said = complaint()
    assert all(f"{name} is bad" in said for name in BAD)
    assert "GATEWAY_PEPPER_FILE is missing" in said
    assert PASSWORD not in said
    assert said.endswith(".")


def test_no_value_is_repeated_by_what_the_complaint_came_from(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("GATEWAY_REDIS_URL", BAD["GATEWAY_REDIS_URL"])
    with pytest.raises(BadSetting) as bad:
        read_settings(ServeSettings)
    assert bad.value.__suppress_context__
    assert bad.value.__cause__ is None


def secrets_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secrets"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def read_secrets(path: Path) -> NumberedKeys:
    return NumberedKeys.read(path, setting="GATEWAY_PEPPER_FILE")


def test_the_highest_number_is_the_newest_and_every_one_is_kept(tmp_path: Path) -> None:
    keys = read_secrets(
        secrets_file(tmp_path, f"2:{SECRET}\n10:{'cd' * 40}\n1:{SECRET}\n")
    )
    assert keys.newest == 10
    assert dict(keys.by_number) == {
        1: bytes.fromhex(SECRET),
        2: bytes.fromhex(SECRET),
        10: b"\xcd" * 40,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        SECRET,
        f"1:{SECRET[:-2]}",
        f"1:{SECRET[:-1]}",
        f"1:{SECRET}\n2:abcd",
        f"0:{SECRET}",
        f"-1:{SECRET}",
        f"32768:{SECRET}",
        f"one:{SECRET}",
        f"1:{SECRET}\n1:{'cd' * 32}",
        f"1:{SECRET}\n01:{'cd' * 32}",
        f"1:{SECRET}:{SECRET}",
        f"1:{'zz' * 32}",
        f"1:{'é' * 64}",
    ],
    ids=range(15),
)
def test_a_file_that_does_not_hold_numbered_secrets_is_refused_and_not_quoted(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(BadSetting) as bad:
        read_secrets(secrets_file(tmp_path, text))
    said = str(bad.value)
    assert said.startswith("GATEWAY_PEPPER_FILE ")
    assert not any(word in said for word in (SECRET[:16], "zzzz", "éé"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o620, 0o644])
def test_secrets_that_others_can_reach_are_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(BadSetting, match="open to other users"):
        read_secrets(secrets_file(tmp_path, f"1:{SECRET}", mode))


def test_secrets_that_only_their_owner_can_read_are_taken(tmp_path: Path) -> None:
    assert read_secrets(secrets_file(tmp_path, f"1:{SECRET}", 0o400)).newest == 1


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadSetting, match="names no readable text file"):
            read_secrets(path)


def test_a_cluster_is_named_by_some_of_its_nodes(
    environment: pytest.MonkeyPatch,
) -> None:
    url = f"rediss+cluster://gateway:{PASSWORD}@a:7000,[::1]:7001"
    environment.setenv("GATEWAY_REDIS_URL", url)
    assert read_settings(ServeSettings).redis_url == url
    assert cluster_seeds(url) == [
        f"rediss://gateway:{PASSWORD}@a:7000",
        f"rediss://gateway:{PASSWORD}@[::1]:7001",
    ]


@pytest.mark.parametrize(
    "url", ["redis+cluster://", "redis+cluster://a:7000,b:seven", "cluster://a:7000"]
)
def test_a_bad_node_of_a_cluster_is_told_without_its_password(
    environment: pytest.MonkeyPatch, url: str
) -> None:
    given = url.replace("://", f"://:{PASSWORD}@")
    environment.setenv("GATEWAY_REDIS_URL", given)
    with pytest.raises(BadSetting) as told:
        read_settings(ServeSettings)
    assert "GATEWAY_REDIS_URL" in str(told.value)
    assert PASSWORD not in str(told.value)


def test_canaries_are_niks_in_a_file_of_its_owner_or_none(tmp_path: Path) -> None:
    assert read_canaries(None) == frozenset()
    path = tmp_path / "canaries"
    path.touch(mode=0o600)
    path.write_text("3171014501900000\n3171014501910000\n", "ascii")
    assert read_canaries(path) == {"3171014501900000", "3171014501910000"}


@pytest.mark.parametrize("text", ["317101450190000", "31710145019000OO", "a b"])
def test_what_is_no_nik_is_no_canary_and_is_not_repeated(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "canaries"
    path.touch(mode=0o600)
    path.write_text(text, "ascii")
    with pytest.raises(BadSetting, match="16 digits") as refused:
        read_canaries(path)
    assert text not in str(refused.value)


def test_canaries_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "canaries"
    path.write_text("3171014501900000", "ascii")
    path.chmod(0o640)
    with pytest.raises(BadSetting, match="open to other users"):
        read_canaries(path)

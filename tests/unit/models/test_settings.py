import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from models.dispatch import get_publisher, make_celery
from models.predictions import build_predictor_settings
from models.settings import Settings, get_settings


def test_empty_addresses_default_to_the_home_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/regbench.db"
    assert settings.resolved_broker_url == f"redis+socket://{tmp_path}/redis.sock"
    assert settings.resolved_artifacts_url == f"file://{tmp_path}/artifacts"


def test_addresses_do_not_depend_on_a_later_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(home=Path("here")).resolved_database_url == f"sqlite:///{tmp_path}/here/regbench.db"


@pytest.mark.parametrize(
    ("name", "value", "resolved"),
    [
        ("data_dir", "data", "{cwd}/data"),
        ("database_url", "sqlite:///own.db", "sqlite:///{cwd}/own.db"),
        ("database_url", "sqlite:////own.db", "sqlite:////own.db"),
        ("database_url", "sqlite://", "sqlite://"),
        ("artifacts_url", "models", "file://{cwd}/models"),
        ("artifacts_url", "file:///models", "file:///models"),
        ("artifacts_url", "memory://models", "memory://models"),
    ],
)
def test_relative_paths_are_resolved_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, resolved: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(getattr(Settings.model_validate({name: value}), name)) == resolved.format(cwd=tmp_path)


@pytest.mark.parametrize("folder", ["a b", "q?x=1", "p%41%zz", "h#1", "é日"])
def test_the_database_is_in_the_home_folder_whatever_its_name(tmp_path: Path, folder: str) -> None:
    settings = Settings(home=tmp_path / folder)
    assert make_url(settings.resolved_database_url).database == f"{tmp_path / folder}/regbench.db"


def test_d13_the_short_name_of_postgresql_is_understood() -> None:
    settings = Settings(database_url="postgres://me:pw@host/regbench")
    assert settings.resolved_database_url == "postgresql+psycopg://me:pw@host/regbench"


@pytest.mark.parametrize(
    ("url", "required"),
    [
        ("rediss://:pw@host:6399/0", True),
        ("rediss://:pw@host:6399/0?ssl_ca_certs=/ca.pem", True),
        ("rediss://:pw@host:6399/0?ssl_cert_reqs=none", False),
    ],
)
def test_d9_the_certificate_of_redis_is_checked_unless_that_is_switched_off(url: str, required: bool) -> None:
    settings = Settings(broker_url=url)
    expected = ssl.CERT_REQUIRED if required else ssl.CERT_NONE
    with get_publisher(settings).connection_for_write() as connection:
        assert connection.ssl["ssl_cert_reqs"] == expected
    client = make_celery("predictions", build_predictor_settings(settings)).backend.client
    assert client.connection_pool.connection_kwargs["ssl_cert_reqs"] == expected


def test_configured_addresses_are_used_unchanged(tmp_path: Path) -> None:
    addresses = {
        "database_url": "postgresql+psycopg://host/regbench",
        "broker_url": "redis://host:6379/1",
        "artifacts_url": "s3://bucket/regbench",
    }
    settings = Settings.model_validate({"home": tmp_path, **addresses})
    assert settings.resolved_database_url == addresses["database_url"]
    assert settings.resolved_broker_url == addresses["broker_url"]
    assert settings.resolved_artifacts_url == addresses["artifacts_url"]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGBENCH_LEASE_SECONDS", "7.5")
    monkeypatch.setenv("LEASE_SECONDS", "8.5")
    assert Settings().lease_seconds == 7.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("worker_concurrency", -1),
        ("training_threads", 0),
        ("chunk_seconds", 0),
        ("lease_seconds", 0),
        ("max_parameters", 0),
        ("max_experiment_jobs", 0),
        ("max_body_bytes", 1023),
        ("lease_seconds", "soon"),
        ("encryption_keys", f"{'a' * 32},short"),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


def test_the_process_reads_its_settings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    get_settings.cache_clear()
    before = get_settings()
    monkeypatch.setenv("REGBENCH_LEASE_SECONDS", "7.5")
    assert get_settings() is before
    get_settings.cache_clear()
    assert get_settings().lease_seconds == 7.5
    get_settings.cache_clear()


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_DIR", "HOME", "LEASE_SECONDS"):
        monkeypatch.setenv(f"REGBENCH_{name}", "")
    assert Settings() == Settings.model_validate(
        {"home": ".regbench", "data_dir": None, "lease_seconds": 30.0}
    )


def test_f13_a_tilde_is_the_users_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "user"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("REGBENCH_HOME", "~/rb")
    monkeypatch.setenv("REGBENCH_DATA_DIR", "~/data")
    monkeypatch.setenv("REGBENCH_ARTIFACTS_URL", "file://~/models")
    monkeypatch.setenv("REGBENCH_DATABASE_URL", "sqlite:///~/rb.db")
    settings = Settings()
    assert (settings.home, settings.data_dir) == (home / "rb", home / "data")
    assert settings.resolved_artifacts_url == f"file://{home}/models"
    assert make_url(settings.resolved_database_url).database == f"{home}/rb.db"
    assert Settings(artifacts_url="~").artifacts_url == f"file://{home}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("home", "/x/a::b"),
        ("artifacts_url", "/x/a::b"),
        ("artifacts_url", "file:///x/a::b"),
        ("home", "~no such user/x"),
        ("data_dir", "~no such user/x"),
    ],
)
def test_f13_an_unusable_folder_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**{name: value})
    assert [error["loc"] for error in refused.value.errors()] == [(name,)]


def test_f13_addresses_of_object_stores_are_used_unchanged() -> None:
    for url in ("s3://bucket/~/x", "simplecache::s3://bucket/x"):
        assert Settings(artifacts_url=url).artifacts_url == url

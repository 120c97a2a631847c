"""Real parts for every test: settings over a fresh home, both databases, a broker."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

import psycopg
import pytest
from sqlalchemy import make_url

from models.database import Database
from models.settings import Settings, get_settings
from tests import servers
from tests.chaos.ledger import LEDGER, Ledger, table
from tests.fuzzing import FUZZING, Fuzzing

KEPT_VARIABLES = {"REGBENCH_DATA_DIR"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much chaos and fuzzing, and which."""
    parser.addoption("--chaos", choices=("short", "full"), default="short", help="how long tests/chaos runs")
    parser.addoption("--chaos-seed", type=int, default=None, help="repeats the faults of an earlier run")
    parser.addoption("--fuzz", choices=("few", "full"), default="few", help="how many cases the API is asked")
    parser.addoption("--fuzz-seed", type=int, default=None, help="repeats the cases of an earlier run")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seeds of the faults and of the fuzzing."""
    seed = config.getoption("--chaos-seed")
    config.stash[LEDGER] = Ledger(
        seed=SystemRandom().randrange(2**31) if seed is None else seed,
        full=config.getoption("--chaos") == "full",
    )
    seed = config.getoption("--fuzz-seed")
    config.stash[FUZZING] = Fuzzing(
        seed=SystemRandom().randrange(2**31) if seed is None else seed,
        full=config.getoption("--fuzz") == "full",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what the faults and the fuzzing have done."""
    ledger = config.stash[LEDGER]
    if ledger.tallies:
        terminalreporter.section("chaos")
        for line in table(ledger):
            terminalreporter.line(line)
    fuzzing = config.stash[FUZZING]
    if fuzzing.runs:
        terminalreporter.section("fuzzing")
        for line in fuzzing.table():
            terminalreporter.line(line)


def pytest_sessionstart() -> None:
    """A run that is told to end (SIGTERM) stops the servers that it started, as one that Ctrl-C ends does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer() -> Iterator[None]:
    """What is set in a developer's shell, or in a .env file, must not decide a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("REGBENCH_")]:
            if name not in KEPT_VARIABLES:
                patch.delenv(name)
        # Keys have tests of their own.
        patch.setenv("REGBENCH_API_KEYS_REQUIRED", "false")
        patch.setenv("REGBENCH_ALLOWED_HOSTS", "testserver")
        patch.setitem(Settings.model_config, "env_file", None)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Address of a real PostgreSQL server, in SQLAlchemy's form, whose database `migrated` is migrated."""
    with servers.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """Unix socket of a real Redis."""
    with servers.redis() as socket:
        yield socket


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    servers.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Settings that lead to a migrated and empty database of each kind; the process's own settings too."""
    if request.param == "sqlite":
        source: Path = request.getfixturevalue("migrated_sqlite")
        (tmp_path / "regbench.db").write_bytes(source.read_bytes())
        url = f"sqlite:///{tmp_path / 'regbench.db'}"
    else:
        url = _fresh_postgresql_database(request.getfixturevalue("postgresql"))
    monkeypatch.setenv("REGBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("REGBENCH_DATABASE_URL", url)
    get_settings.cache_clear()
    yield Settings()
    get_settings.cache_clear()


@pytest.fixture
def database(database_settings: Settings) -> Iterator[Database]:
    database = Database(database_settings)
    yield database
    database.close()


def _fresh_postgresql_database(migrated: str) -> str:
    """An empty copy of the migrated database; the former test's copy goes."""
    with psycopg.connect(servers.plain(migrated, "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS test WITH (FORCE)")
        connection.execute("CREATE DATABASE test TEMPLATE migrated")
    return make_url(migrated).set(database="test").render_as_string(hide_password=False)

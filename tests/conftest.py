"""Real parts for every test: settings over a fresh home, both databases, a broker."""

import os
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
from sqlalchemy import Dialect, Engine
from sqlalchemy.util import LRUCache

from models.settings import Settings, get_settings
from models.store import engine
from models.store.database import Database
from tests import servers
from tests.chaos.fault_log import FAULT_LOG, FaultLog, Tally, table
from tests.fuzzing import FUZZING, Fuzzing, Run

PRESERVED_VARIABLES = {"REGBENCH_DATA_DIR"}
PROCESSES = pytest.StashKey[list[int]]()
# The folders of long tests, the longest first: a long file that starts last leaves the other process idle.
LONG_TESTS = (
    "tests/acceptance/",
    "tests/chaos/",
    "tests/integration/worker/",
    "tests/unit/worker/",
    "tests/integration/",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for the amount and the seeds of chaos tests and fuzzing."""
    parser.addoption("--chaos", choices=("short", "full"), default="short", help="how long tests/chaos runs")
    parser.addoption("--chaos-seed", type=int, default=None, help="repeats the faults of an earlier run")
    parser.addoption(
        "--fuzz", choices=("few", "full"), default="few", help="how many cases the API is tested with"
    )
    parser.addoption("--fuzz-seed", type=int, default=None, help="repeats the cases of an earlier run")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seeds of the faults and of the fuzzing; processes that share a run share them too."""
    worker_input: dict[str, int] = getattr(config, "workerinput", {})

    def seed(option: str) -> int:
        option_value: int | None = config.getoption(option)
        return (
            worker_input.get(option, SystemRandom().randrange(2**31))
            if option_value is None
            else option_value
        )

    config.stash[FAULT_LOG] = FaultLog(seed=seed("--chaos-seed"), full=config.getoption("--chaos") == "full")
    config.stash[FUZZING] = Fuzzing(seed=seed("--fuzz-seed"), full=config.getoption("--fuzz") == "full")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the seeds to a process of pytest-xdist, and give it time to stop its servers."""
    node.workerinput["--chaos-seed"] = node.config.stash[FAULT_LOG].seed
    node.workerinput["--fuzz-seed"] = node.config.stash[FUZZING].seed
    node.nodemanager.EXIT_TIMEOUT = 60


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Remember a process of pytest-xdist."""
    node.config.stash.setdefault(PROCESSES, []).append(node.gateway._rinfo().pid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process of pytest-xdist takes the tests of a file, or all that share the stack."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 (only called where it is there)

    class FilesAndTheStack(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "the stack" if file.startswith("tests/acceptance/") else file

    return FilesAndTheStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first."""
    items.sort(key=lambda item: [not item.nodeid.startswith(folder) for folder in LONG_TESTS])


# First, because pytest-xdist's own hook waits for its processes.
@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Send the results of this process's faults and fuzzing; on SIGTERM, forward it to the xdist workers."""
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        for pid in session.config.stash.get(PROCESSES, []):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tallies"] = [asdict(tally) for tally in session.config.stash[FAULT_LOG].tallies]
        output["runs"] = [asdict(run) for run in session.config.stash[FUZZING].runs]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Receive the results of a process of pytest-xdist; one that was killed sends none."""
    if error is None:
        node.config.stash[FAULT_LOG].tallies += [Tally(**tally) for tally in node.workeroutput["tallies"]]
        node.config.stash[FUZZING].runs += [Run(**run) for run in node.workeroutput["runs"]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the results of faults and fuzzing."""
    fault_log = config.stash[FAULT_LOG]
    if fault_log.tallies:
        terminalreporter.section("chaos")
        for line in table(fault_log):
            terminalreporter.line(line)
    fuzzing = config.stash[FUZZING]
    if fuzzing.runs:
        terminalreporter.section("fuzzing")
        for line in fuzzing.table():
            terminalreporter.line(line)


def pytest_sessionstart() -> None:
    """On SIGTERM a run stops the servers that it started, as on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer() -> Iterator[None]:
    """Variables of a developer's shell, or of a .env file, must not affect a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("REGBENCH_")]:
            if name not in PRESERVED_VARIABLES:
                patch.delenv(name)
        # pytest loads readline, which exports the terminal's width to every child process: to those of
        # pytest-xdist, and through them to programs that tests start in terminals of their own.
        for name in ("COLUMNS", "LINES"):
            patch.delenv(name, raising=False)
        # Keys have tests of their own.
        patch.setenv("REGBENCH_API_KEYS_REQUIRED", "false")
        patch.setenv("REGBENCH_ALLOWED_HOSTS", "testserver")
        patch.setitem(Settings.model_config, "env_file", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Let SQLite's commits in this process return before the disk has them, which takes 15 ms each.

    Tests kill processes and no machine, so nothing is lost. The service's own processes wait.
    """
    configure = engine._configure_sqlite

    @wraps(configure)
    def configure_without_sync(connection: sqlite3.Connection, record: object) -> None:
        configure(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_configure_sqlite", configure_without_sync)
        yield


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once() -> Iterator[None]:
    """Let engines of the same kind share compiled statements: a service has one engine, each test another.

    SQLAlchemy compiles a statement once for each dialect object, so they share that, too, as soon as it has
    read from a server what it must know.
    """
    create = engine.create_engine
    dialects: defaultdict[str, list[Dialect]] = defaultdict(list)
    compiled = LRUCache[Any, Any](10_000)

    @wraps(create)
    def create_sharing_engine(*arguments: Any, **options: Any) -> Engine:
        created = create(*arguments, **options)
        known = dialects[created.dialect.name]
        connected = next((dialect for dialect in known if dialect.server_version_info), None)
        if connected is None:
            known.append(created.dialect)
        created.dialect, created._compiled_cache = connected or created.dialect, compiled
        return created

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "create_engine", create_sharing_engine)
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
        url = servers.empty_postgresql(request.getfixturevalue("postgresql"))
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

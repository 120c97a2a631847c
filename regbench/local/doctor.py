"""What is wrong with this machine's installation, and how to fix it: `regbench doctor`."""

import importlib.util
import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from models.errors import RegbenchError
from models.settings import Settings
from regbench.client import Regbench
from regbench.connection import is_loopback
from regbench.errors import ClientError, ProblemError, StackError, Unreachable
from regbench.local.home_lock import find_lock_owner, has_database
from regbench.local.ports import check_port
from regbench.local.process import MIGRATION, run_module
from regbench.local.redis_server import find_redis_server
from regbench.local.stack import DATASET_CHECK, are_keys_required

# A job's model takes a few megabytes, TensorFlow's compiled programs and logs some more.
LOW_DISK_BYTES, MIN_DISK_BYTES = 2_000_000_000, 200_000_000
# If one of these packages is absent, an extra is not installed.
_SERVICE_PACKAGES = ("uvicorn", "fastapi", "celery", "sqlalchemy", "tensorflow", "keras", "mlxtend")
_SERVICE_SECONDS = 5.0
_DEFAULT_PORT = 8000
# Times of jobs are the database's, ages and remaining times are counted by this machine's clock.
_CLOCK_SECONDS = 10.0
_DATASET = "dataset "


class Health(StrEnum):
    """How much a finding matters."""

    OK = "OK"
    WARNING = "warning"
    """It works, for now or in part."""
    FAULT = "fault"
    """Something does not work."""


@dataclass(frozen=True)
class Finding:
    """The result of one check; `fix` is a command, or words where there is none."""

    name: str
    health: Health
    message: str
    fix: str = ""


def examine(settings: Settings, url: str, announce: Callable[[str], None]) -> Iterator[Finding]:
    """Every finding, one after the other; `announce` gets what is checked next.

    Where only the client is installed, only that and the service are checked.
    """
    yield Finding("Python", Health.OK, ".".join(map(str, sys.version_info[:3])))
    missing = [name for name in _SERVICE_PACKAGES if importlib.util.find_spec(name) is None]
    try:
        message = f"regbench {version('regbench')}"
        packages = Finding("packages", Health.OK, f"{message}, client and service")
        if missing:
            message = f"{message}, client only; not installed: {', '.join(missing)}"
            fix = "pip install 'regbench[all]', or `make setup` in a checkout, to serve on this machine"
            packages = Finding("packages", Health.WARNING, message, fix)
    except PackageNotFoundError:
        packages = Finding("packages", Health.FAULT, "regbench itself is not installed", "make setup")
    yield packages
    if is_loopback(urlsplit(url).hostname or "") and packages.health is Health.OK:
        for area, check in CHECKS.items():
            announce(area)
            for finding in check(settings):
                absent = finding.health is Health.WARNING and finding.name.startswith(_DATASET)
                if absent and finding.name.removeprefix(_DATASET) in _list_served_datasets(url):
                    message = "not in this environment's folders, but the service has it"
                    yield Finding(finding.name, Health.OK, message)
                else:
                    yield finding
    announce("the service")
    yield from _check_service(settings, url)


def _list_served_datasets(url: str) -> set[str]:
    """The datasets that a running service has; none without a service."""
    try:
        with Regbench(url, timeout=_SERVICE_SECONDS, retries=0) as client:
            return {dataset.name for dataset in client.datasets() if dataset.available}
    except ClientError:
        return set()


def _check_home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    folder = next(path for path in (home, *home.parents) if path.exists())
    # Try to write: for root, and on some file systems, the permissions do not tell.
    probe = folder / ".regbench-doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        fix = f"chmod u+w {folder}, or set another folder with REGBENCH_HOME"
        yield Finding("home folder", Health.FAULT, f"{folder} cannot be written", fix)
        return
    yield Finding("home folder", Health.OK, str(home) if home.is_dir() else f"{home}, not created yet")
    open_to_others = [path for path in home.glob("regbench.db*") if path.stat().st_mode & 0o077]
    if open_to_others:
        message = "other users of this machine can read the database, with all owners' rows"
        fix = f"chmod 600 {' '.join(shlex.quote(str(path)) for path in open_to_others)}"
        yield Finding("database file", Health.WARNING, message, fix)
    # Models may be on another disk; an object store's address is no folder.
    artifacts = Path((settings.artifacts_url or str(folder)).removeprefix("file://"))
    for disk in dict.fromkeys((folder, artifacts if artifacts.is_dir() else folder)):
        free = shutil.disk_usage(disk).free
        message = f"{free / 1e9:.1f} GB free at {disk}"
        if free >= LOW_DISK_BYTES:
            yield Finding("disk space", Health.OK, message)
        else:
            health = Health.FAULT if free < MIN_DISK_BYTES else Health.WARNING
            yield Finding("disk space", health, message, "regbench prune --days 30")


def _check_datasets(settings: Settings) -> Iterator[Finding]:
    try:
        datasets = json.loads(run_module(settings, DATASET_CHECK))
    except (StackError, ValueError) as error:
        yield Finding("datasets", Health.FAULT, f"cannot be checked: {error}", "make setup")
        return
    for dataset in datasets:
        name, path, message = f"{_DATASET}{dataset['name']}", dataset["path"], dataset["message"]
        match dataset["health"]:
            case "ok":
                yield Finding(name, Health.OK, f"intact, {path or 'part of a package'}")
            case "absent":
                file = f"{dataset['name']}.npz"
                fix = f"set REGBENCH_DATA_DIR to a folder that contains {file}, or use mnist_5k"
                yield Finding(name, Health.WARNING, message, fix)
            case _:
                # Such a folder may hold the user's other files, even be the whole of REGBENCH_DATA_DIR.
                files = f"{shlex.quote(path)}{'/*-ubyte*' if Path(path).is_dir() else ''}" if path else ""
                fix = f"rm {files}  # downloaded again when needed" if path else "make setup"
                yield Finding(name, Health.FAULT, message, fix)


def _check_redis(settings: Settings) -> Iterator[Finding]:
    try:
        message = "set by REGBENCH_BROKER_URL" if settings.broker_url else str(find_redis_server())
        yield Finding("Redis", Health.OK, message)
    except StackError as error:
        yield Finding("Redis", Health.FAULT, error.message, error.hint)


def _check_database(settings: Settings) -> Iterator[Finding]:
    database = "set by REGBENCH_DATABASE_URL" if settings.database_url else "SQLite in the home folder"
    if not has_database(settings):
        yield Finding("database", Health.OK, f"{database}, created at the first start")
        return
    try:
        run_module(settings, (*MIGRATION, "--check"))
    except StackError as error:
        fix = "see REGBENCH_DATABASE_URL"
        if "newer release" in error.message:
            fix = "pip install --upgrade regbench"
        elif "python -m migrations" in error.message:
            fix = "python -m migrations"
        yield Finding("database", Health.FAULT, error.message, fix)
        return
    yield Finding("database", Health.OK, f"{database}, at the newest migration")
    from regbench.local import installation  # noqa: PLC0415 (needs the service's packages)

    try:
        usable, total = installation.count_keys(settings)
        ahead = time.time() - installation.read_database_clock(settings)
    except RegbenchError as error:
        yield Finding("keys", Health.FAULT, f"cannot be read: {error}", "python -m migrations")
        return
    message = f"{usable} of {total} active" if total else "none"
    if settings.api_keys_required == "true" and not usable:
        message = f"{message}, but every request needs one"
        yield Finding("keys", Health.FAULT, message, "regbench keys create NAME")
    else:
        needed = "one" if are_keys_required(settings, "127.0.0.1") else "none"
        yield Finding("keys", Health.OK, f"{message}; requests from this machine need {needed}")
    if abs(ahead) < _CLOCK_SECONDS:
        yield Finding("clock", Health.OK, "agrees with the database's")
    else:
        message = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the database's"
        fix = "synchronize the clocks of this machine and the database's, for example with chrony"
        yield Finding("clock", Health.FAULT, message, fix)


# Of this machine, by area.
CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "the home folder": _check_home,
    "the datasets": _check_datasets,
    "Redis": _check_redis,
    "the database": _check_database,
}


# By the check of /readyz and what its outcome contains; the last of a check holds for all others.
_FIXES = (
    ("migrations", "newer release", "pip install --upgrade regbench"),
    ("migrations", "without the database", ""),
    ("migrations", "", "python -m migrations"),
    ("worker", "without the broker", ""),
    ("worker", "", "regbench up (or start a worker), and read its log"),
    ("broker", "read only", "a failover has made it a replica: correct REGBENCH_BROKER_URL"),
    ("broker", "MISCONF", "free space on the broker's disk, or start Redis with --save ''"),
    ("broker", "maxmemory", "give Redis more memory, or remove its maxmemory"),
    ("broker", "certificate", "add ssl_ca_certs=FILE to REGBENCH_BROKER_URL"),
    ("broker", "", "start Redis, or correct REGBENCH_BROKER_URL"),
    ("database", "read-only", "a failover has made it a standby: correct REGBENCH_DATABASE_URL"),
    ("database", "readonly", "restore the database file, or make it writable, and restart the service"),
    ("database", "lock", "end the transaction that holds the lock (pg_stat_activity, or another program)"),
    ("database", "", "start the database, or correct REGBENCH_DATABASE_URL"),
)


def _check_service(settings: Settings, url: str) -> Iterator[Finding]:
    try:
        with Regbench(url, timeout=_SERVICE_SECONDS, retries=0) as client:
            readiness = client.readiness()
            yield Finding("service", Health.OK, f"responds at {client.base_url}")
            for name, outcome in readiness.checks.items():
                fix = next((fix for check, part, fix in _FIXES if check == name and part in outcome), "")
                health = Health.OK if outcome == "ok" else Health.FAULT
                yield Finding(f"service: {name}", health, outcome, fix if health is Health.FAULT else "")
            try:
                next(client.jobs(page_size=1), None)
                yield Finding("service: your key", Health.OK, "has access")
            except ProblemError as error:
                if error.status in {401, 403}:
                    fix = "set REGBENCH_API_KEY to a key from `regbench keys create NAME`"
                    yield Finding("service: your key", Health.FAULT, error.title, fix)
                else:
                    yield Finding("service: jobs", Health.FAULT, error.message)
    except Unreachable as error:
        yield _explain_no_service(settings, url, error)


def _explain_no_service(settings: Settings, url: str, error: ClientError) -> Finding:
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or _DEFAULT_PORT
    if not is_loopback(host):
        return Finding("service", Health.FAULT, error.message, "check that machine, or correct REGBENCH_URL")
    try:
        check_port(host, port)
    except StackError as in_use:
        # It may be a proxy or a Regbench that is stuck: only the error of the request says what is wrong.
        if "secure connection" in error.message:
            return Finding("service", Health.FAULT, error.message, error.hint)
        message = f"{in_use.message} {error.message}"
        return Finding("service", Health.FAULT, message, "stop it, or regbench up --port 9000")
    if process := find_lock_owner(settings.home):
        message = f"Regbench is running in the home folder (process {process}), but not at {url}"
        fix = "set its address with --url or REGBENCH_URL, as `regbench up` printed it"
        return Finding("service", Health.FAULT, message, fix)
    return Finding("service", Health.WARNING, f"not running; port {port} is free", "regbench up")

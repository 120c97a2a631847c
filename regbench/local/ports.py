"""Hosts and ports: which are free, which are private, and how this machine reaches them."""

import errno
import socket
from contextlib import ExitStack

from regbench.errors import StackError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (resolved, not bound)


def format_url(host: str, port: int) -> str:
    """Where this machine reaches an API that listens there."""
    reachable = _ANY.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def find_free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now.

    Raises:
        StackError: an API cannot listen on this host at all.
    """
    with _bound(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def check_port(host: str, port: int) -> None:
    """Nothing, if an API can listen there.

    Raises:
        StackError: it cannot.
    """
    _bound(host, port).close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as until_bound:
            probe = until_bound.enter_context(socket.socket(family))
            # As the API will: a connection that has just closed does not keep the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            until_bound.pop_all()
            return probe
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StackError(
                f"Port {port} of {host} is already in use.",
                "Choose another port with --port, or `make up PORT=...`.",
            ) from None
        raise StackError(f"Cannot listen on port {port} of {host}: {error.strerror}.") from None

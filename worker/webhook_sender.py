"""Delivery of webhook messages, by a thread of every worker's parent process."""

import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpcore
import httpx

from models import webhook_payload
from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store import webhooks
from models.store.webhooks import DueDelivery
from worker.background import PeriodicThread
from worker.fork_safety import fork_safe_database

log = logging.getLogger(__name__)

_CONCURRENCY = 4
_SEND_SECONDS = 10.0


class ForbiddenAddress(httpcore.ConnectError):
    """The host name resolves to an address that is not allowed."""


class PublicNetworkBackend(httpcore.SyncBackend):
    """Connections with a deadline; with `public_only`, to public addresses alone.

    Then all addresses of a host name must be public, and the checked address is the one that is connected to,
    so that DNS rebinding changes nothing.
    """

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._deadline = time.monotonic() + _SEND_SECONDS

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect.

        Raises:
            ForbiddenAddress: the host name resolves to an address that is not allowed.
        """
        try:
            resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        addresses = [str(socket_address[0]) for *_, socket_address in resolved]
        if self._public_only and not all(map(is_public, addresses)):
            raise ForbiddenAddress(f"{host} is not on the public network")
        stream = super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    """A connection with one deadline for all reads and writes: a receiver may answer byte by byte."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def _get_remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise httpcore.ReadTimeout(f"no complete response within {_SEND_SECONDS:g} s")
        return remaining

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read before the deadline."""
        return self._stream.read(max_bytes, self._get_remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write before the deadline."""
        self._stream.write(buffer, self._get_remaining())

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS before the deadline."""
        stream = self._stream.start_tls(ssl_context, server_hostname, self._get_remaining())
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Get the property `info` of the connection."""
        return self._stream.get_extra_info(info)


_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments, some of which Python calls global
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64 of any IPv4 address
        "64:ff9b:1::/48",
        "fec0::/10",  # site-local
    )
]


def is_public(address: str) -> bool:
    """Whether an address is on the public network, an IPv4 address embedded in IPv6 included."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        embedded = ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is not None and not is_public(str(embedded)):
            return False
    listed = any(ip in network for network in _NOT_PUBLIC if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not listed


class WebhookSender(PeriodicThread):
    """Sends due deliveries every few seconds. Many may run at once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("webhook sender", settings.sweep_seconds)
        self._settings = settings

    def run_once(self) -> None:
        """Send all that is due."""
        try:
            while not self.stopped.is_set() and self.send_due():
                pass
        except ServiceUnavailable as error:
            log.warning("webhooks wait: %s", error.message)

    def send_due(self) -> int:
        """Send a few due deliveries concurrently; returns how many there were."""
        with fork_safe_database(self._settings) as database, database.write() as session:
            deliveries = webhooks.claim_due_deliveries(session, limit=_CONCURRENCY)
            bodies = [webhook_payload.build_body(delivery.event, delivery.job) for delivery in deliveries]
        if not deliveries:
            return 0
        # Without a database connection: a slow receiver must not keep the worker from forking.
        with ThreadPoolExecutor(_CONCURRENCY) as threads:
            outcomes = list(threads.map(self._send, deliveries, bodies))
        with fork_safe_database(self._settings) as database, database.write() as session:
            for delivery, (status, error) in zip(deliveries, outcomes, strict=True):
                if error is None and status is not None:
                    webhooks.record_success(session, delivery, status)
                else:
                    log.warning("webhook delivery %s: %s", delivery.id, error)
                    webhooks.record_failure(session, delivery, status=status, error=error or "")
        return len(deliveries)

    def _send(self, delivery: DueDelivery, body: str) -> tuple[int | None, str | None]:
        """The status of the response, if there is one, and the error, if there was one."""
        transport = httpx.HTTPTransport()
        # httpx has no other way to choose how it connects.
        transport._pool._network_backend = PublicNetworkBackend(
            public_only=not self._settings.webhook_private_addresses
        )
        try:
            headers = webhook_payload.sign_headers(delivery.id, delivery.secret, body, now=datetime.now(UTC))
            # Only the status matters; the rest of the response, which may be endless, is not read.
            with (
                httpx.Client(transport=transport, timeout=_SEND_SECONDS, follow_redirects=False) as client,
                client.stream("POST", delivery.url, content=body, headers=headers) as response,
            ):
                status = response.status_code
        except Exception as error:
            # No address and no receiver may hold up the other deliveries.
            return None, f"{type(error).__name__}: {error}"
        return status, None if httpx.codes.is_success(status) else f"answered {status}"

"""Delivery of webhook messages, by a thread of every worker's parent process."""

import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import httpcore
import httpx

from models import webhook_payload
from models.encryption import decrypt_secret
from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store import webhooks
from models.store.webhooks import DueDelivery
from worker.background import PeriodicThread
from worker.fork_safety import fork_safe_database

log = logging.getLogger(__name__)

# A thread that waits for a slow receiver costs little, and each webhook gets one message at a time.
_CONCURRENCY = 64
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


# Reading the certificates takes as long as sending many messages.
_create_ssl_context = cache(httpx.create_ssl_context)


class WebhookSender(PeriodicThread):
    """Sends due deliveries every few seconds, each in a thread of its own. Many may run at once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("webhook sender", settings.sweep_seconds)
        self._settings = settings
        self._threads = ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="webhook")
        self._sending: dict[Future[None], DueDelivery] = {}

    def run_once(self) -> None:
        """Send all that is due; a slow receiver holds up nothing but its own next message."""
        try:
            while not self.stopped.is_set():
                self._start_due()
                if not self._sending:
                    return
                wait(self._sending, timeout=self._settings.sweep_seconds, return_when=FIRST_COMPLETED)
        except ServiceUnavailable as error:
            log.warning("could not process webhooks: %s", error.message)

    def _start_due(self) -> int:
        """Start sending what is due: for each webhook one message at a time."""
        self._sending = {future: delivery for future, delivery in self._sending.items() if not future.done()}
        free = _CONCURRENCY - len(self._sending)
        if not free:
            return 0
        with fork_safe_database(self._settings) as database, database.write() as session:
            busy = [delivery.webhook.id for delivery in self._sending.values()]
            deliveries = webhooks.claim_due_deliveries(session, limit=free, busy=busy)
            bodies = [
                webhook_payload.build_body(
                    delivery.event, delivery.webhook, delivery.job, delivery.experiment, delivery.counts
                )
                for delivery in deliveries
            ]
        for delivery, body in zip(deliveries, bodies, strict=True):
            self._sending[self._threads.submit(self._send, delivery, body)] = delivery
        return len(deliveries)

    def _send(self, delivery: DueDelivery, body: str) -> None:
        """Send one message and record how that went."""
        transport = httpx.HTTPTransport(verify=_create_ssl_context())
        # httpx has no other way to choose how it connects.
        transport._pool._network_backend = PublicNetworkBackend(
            public_only=not self._settings.webhook_private_addresses
        )
        status = error = retry_after = None
        try:
            now = datetime.now(UTC)
            secret = decrypt_secret(delivery.webhook.secret, self._settings.encryption_keys)
            headers = webhook_payload.sign_headers(delivery.id, secret, body, now=now)
            # Without a database connection: a slow receiver must not keep the worker from forking. Only the
            # status matters; the rest of the response, which may be endless, is not read.
            with (
                httpx.Client(transport=transport, timeout=_SEND_SECONDS, follow_redirects=False) as client,
                client.stream("POST", delivery.webhook.url, content=body, headers=headers) as response,
            ):
                status = response.status_code
                if not response.is_success:
                    error = f"HTTP status {status}"
                    retry_after = parse_retry_after(response.headers.get("Retry-After"), now)
        except Exception as failure:
            # No address and no receiver may hold up the other deliveries.
            error = f"{type(failure).__name__}: {failure}"
        try:
            with fork_safe_database(self._settings) as database, database.write() as session:
                if error is None and status is not None:
                    webhooks.record_success(session, delivery, status)
                    return
                log.warning("webhook delivery %s: %s", delivery.id, error)
                webhooks.record_failure(
                    session, delivery, status=status, error=error or "", retry_after=retry_after
                )
        except ServiceUnavailable as failure:
            log.warning("webhook delivery %s will be sent again: %s", delivery.id, failure.message)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3); None: unreadable."""
    if value is None or value.strip().isdecimal():
        return float(value) if value else None
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None

"""Sending what webhooks are to be told, by a thread of every worker's parent process."""

import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import httpcore
import httpx

from models import webhook_payload
from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store import webhooks
from models.store.webhooks import DueDelivery
from worker.fork_safety import fork_safe_database

log = logging.getLogger(__name__)

_AT_ONCE = 4
_SEND_SECONDS = 10.0


class ForbiddenAddress(httpcore.ConnectError):
    """The name leads to an address that may not be reached."""


class PublicNetworkBackend(httpcore.SyncBackend):
    """Connections that end at their deadline; where only public addresses may be reached, to these alone.

    Then every address of a name must be public, and the one that was checked is connected to, so that a name
    which leads elsewhere a moment later changes nothing.
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
            ForbiddenAddress: the name has an address that may not be reached.
        """
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} is not known: {error}") from error
        addresses = [str(item[4][0]) for item in result]
        if self._public_only and not all(map(is_public, addresses)):
            raise ForbiddenAddress(f"{host} is not on the public network")
        stream = super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes together have a deadline: a receiver may answer byte by byte."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout(f"no whole answer within {_SEND_SECONDS:g} s")
        return left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read, while there is time."""
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, while there is time."""
        self._stream.write(buffer, self._left())

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Encrypt, while there is time."""
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._left()), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection."""
        return self._stream.get_extra_info(info)


_NOT_PUBLIC = [
    ipaddress.ip_network(item)
    for item in (
        "192.0.0.0/24",  # protocol assignments, some of which Python calls global
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64, of whatever IPv4 address
        "64:ff9b:1::/48",
        "fec0::/10",  # site-local
    )
]


def is_public(address: str) -> bool:
    """Whether an address is reached over the public network, also where IPv6 hides an IPv4 one."""
    result = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(result, ipaddress.IPv6Address):
        if result.ipv4_mapped is not None:
            return is_public(str(result.ipv4_mapped))
        hidden = result.sixtofour or (result.teredo[1] if result.teredo else None)
        if hidden is not None and not is_public(str(hidden)):
            return False
    listed = any(result in network for network in _NOT_PUBLIC if network.version == result.version)
    return result.is_global and not result.is_multicast and not listed


class WebhookSender:
    """Sends what is due, every few seconds, until it is stopped. Many may run at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="messenger", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._settings.sweep_seconds):
            try:
                while not self._stopped.is_set() and self.send_due():
                    pass
            except ServiceUnavailable as error:
                log.warning("webhooks wait: %s", error.message)
            except Exception:
                # A fault in one round must not end the rest.
                log.exception("webhooks could not be told")

    def send_due(self) -> int:
        """Send what is due, a few at once; returns how many there were."""
        with fork_safe_database(self._settings) as database, database.write() as session:
            parcels = webhooks.claim_due_deliveries(session, limit=_AT_ONCE)
            texts = [webhook_payload.build_body(parcel.event, parcel.job) for parcel in parcels]
        if not parcels:
            return 0
        # No database is held meanwhile: a slow receiver must not keep the worker from forking.
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            answers = list(threads.map(self._send, parcels, texts))
        with fork_safe_database(self._settings) as database, database.write() as session:
            for parcel, (status, error) in zip(parcels, answers, strict=True):
                if error is None and status is not None:
                    webhooks.record_success(session, parcel, status)
                else:
                    log.warning("webhook message %s: %s", parcel.id, error)
                    webhooks.record_failure(session, parcel, status=status, error=error or "")
        return len(parcels)

    def _send(self, parcel: DueDelivery, text: str) -> tuple[int | None, str | None]:
        """The status of the answer, if there was one; and what went wrong, if anything did."""
        try:
            headers = webhook_payload.sign_headers(parcel.id, parcel.secret, text, now=datetime.now(UTC))
            # Its status says all; the rest of the answer, which may be endless, is not read.
            with (
                self._client() as client,
                client.stream("POST", parcel.url, content=text, headers=headers) as answer,
            ):
                status = answer.status_code
        except Exception as error:
            # Whatever an address or a receiver brings about, the other messages must not suffer for it.
            return None, f"{type(error).__name__}: {error}"
        return status, None if httpx.codes.is_success(status) else f"answered {status}"

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport()
        # httpx has no other way to choose how it connects.
        transport._pool._network_backend = PublicNetworkBackend(
            public_only=not self._settings.webhook_private_addresses
        )
        return httpx.Client(transport=transport, timeout=_SEND_SECONDS, follow_redirects=False)

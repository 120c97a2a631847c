"""uvicorn's HTTP over httptools, with bounds on what clients may send, and on how slowly.

Started by `--http api.http.server_protocol:BoundedHttpProtocol`.

uvicorn bounds headers only with h11, and sets no deadline for headers, bodies or unread responses. Without
them, any client could hold all connections that a process may have open.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
HEAD_SECONDS = 20.0
BODY_SECONDS = 20.0
"""How long a body may take, and a second more for each MIN_BYTES_PER_SECOND of it that have arrived."""
MIN_BYTES_PER_SECOND = 16_384
UNREAD_SECONDS = 60.0
"""How long a client may leave a response unread that fills the buffers."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection whose requests are bounded in size and time."""

    _head_bytes = _parsed_bytes = _body_bytes = 0
    _body_started = 0.0
    _awaits_head = False
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Start to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the headers of this request, which may be a later one of its connection."""
        super().on_message_begin()
        self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the header.

        Raises:
            ValueError: the headers are too long; it is answered with 400.
        """
        self._parsed_bytes += len(name) + len(value)
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise ValueError("the headers are too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass the request on, and wait for its body."""
        self._stop_waiting()
        self._body_bytes, self._body_started = 0, self.loop.time()
        self._deadline = self.loop.call_later(BODY_SECONDS, self._check_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has become too long."""
        super().data_received(data)
        if not self._awaits_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The headers are too long.")

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head_bytes = self._parsed_bytes = 0
        self._awaits_head = True
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _check_body(self) -> None:
        """Close the connection if its client sends the body too slowly."""
        allowed = BODY_SECONDS + self._body_bytes / MIN_BYTES_PER_SECOND
        remaining = self._body_started + allowed - self.loop.time()
        if remaining <= 0 and not self.flow.read_paused:
            self.transport.close()
        else:
            self._deadline = self.loop.call_later(max(remaining, 1.0), self._check_body)

    def _stop_waiting(self) -> None:
        self._awaits_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

"""A TCP proxy in front of a unix socket, which can simulate an outage of the network."""

import selectors
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread

_POLL_SECONDS = 0.1
# Closing sends RST and not FIN, as from a peer that has lost the connection's state.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards one loopback port to `target`, in a thread of its own."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._lock, self._ended = Lock(), Event()
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._is_cut = False
        self.resets = 0
        """Connections that were reset so far."""
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._run, name="proxy", daemon=True)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def cut(self) -> None:
        """Silently drop everything; refuse new connections."""
        with self._lock:
            self._is_cut = True
            self._selector.unregister(self._listener)
            self._listener.close()

    def restore(self) -> None:
        """Connections from before are reset; new ones are served."""
        with self._lock:
            self.resets += len(self._peers) // 2
            for peer in [*self._peers]:
                self._close(peer)
            self._listener = self._listen(self.port)
            self._is_cut = False

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Forward while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._thread.join()
            for connection in (self._listener, *self._peers):
                connection.close()
            self._selector.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._is_cut:
                self._ended.wait(_POLL_SECONDS)
                continue
            for key, _ in self._selector.select(_POLL_SECONDS):
                with self._lock:
                    self._serve(key.fileobj)

    def _serve(self, ready: object) -> None:
        if self._is_cut:
            return
        if ready is self._listener:
            self._accept()
        elif isinstance(ready, socket.socket) and ready in self._peers:
            self._forward(ready)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self._target))
        for one, other in ((client, server), (server, client)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        # An error of either side closes both.
        with suppress(OSError):
            if content := source.recv(65_536):
                self._peers[source].sendall(content)
                return
        self._close(self._peers[source])
        self._close(source)

    def _close(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        del self._peers[peer]
        if peer.family == socket.AF_INET:
            with suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        peer.close()

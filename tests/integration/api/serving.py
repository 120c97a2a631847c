"""A real server in this process, for behaviour that a test client hides."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.app import create_app
from api.http.server_protocol import BoundedHttpProtocol
from models.settings import Settings


@contextmanager
def serving(settings: Settings) -> Iterator[int]:
    """The port on which the API listens while the block runs."""
    config = uvicorn.Config(create_app(settings), http=BoundedHttpProtocol, port=0, log_level="critical")
    server = uvicorn.Server(config)
    # Bound here, so that early connections wait in the backlog.
    with config.bind_socket() as socket:
        socket.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield socket.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()

"""The path prefix under which a proxy serves the API: REGBENCH_ROOT_PATH, or the ASGI root path.

Routes know nothing of it. Requests arrive with or without the prefix, as the proxy passes them on; every
link, redirect and cookie of a response has it.
"""

import re
from contextvars import ContextVar

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_root_path: ContextVar[str] = ContextVar("root_path", default="")
_LINK_TARGET = re.compile(r"(?<=<)/[^>]*(?=>)")


def add_root(path: str) -> str:
    """An absolute path of this service as its clients see it; one that has the prefix already stays."""
    root = _root_path.get()
    return path if path.startswith(f"{root}/") and root else root + path


class RootPathMiddleware:
    """ASGI middleware, the outermost: takes the prefix off requests and adds it to responses."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        root = self._root_path or scope.get("root_path", "").rstrip("/") if scope["type"] == "http" else ""
        if not root:
            await self.app(scope, receive, send)
            return
        _root_path.set(root)
        path = scope["path"]
        if path == root or path.startswith(f"{root}/"):
            path = path.removeprefix(root) or "/"

        async def send_with_root(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_root_to_headers(MutableHeaders(scope=message), root)
            await send(message)

        await self.app(
            {**scope, "path": path, "raw_path": path.encode(), "root_path": root}, receive, send_with_root
        )


def _add_root_to_headers(headers: MutableHeaders, root: str) -> None:
    if headers.get("Location", "").startswith("/"):
        headers["Location"] = add_root(headers["Location"])
    if "Link" in headers:
        headers["Link"] = _LINK_TARGET.sub(lambda target: add_root(target[0]), headers["Link"])
    # Otherwise other services of the same host would get the key.
    for index, (name, value) in enumerate(headers.raw):
        if name.lower() == b"set-cookie":
            headers.raw[index] = (name, re.sub(rb"(?i)(?<=; path=)/(?=;|$)", root.encode(), value))

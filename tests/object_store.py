"""An object store in memory that can be taken away, and then fails as S3's client does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class EndpointConnectionError(Exception):
    """As botocore's: no OSError."""


class UnreliableFileSystem(MemoryFileSystem):
    """Every operation fails while `away`; `failed` counts them."""

    protocol = "unreliable"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    away = False
    failed = 0

    def __getattribute__(self, name: str) -> Any:
        """Fail instead of any operation, while the store is away."""
        cls = UnreliableFileSystem
        if cls.away and name in {"pipe_file", "cat_file", "find", "rm_file", "info"}:
            cls.failed += 1
            raise EndpointConnectionError("Could not connect to the endpoint URL")
        return super().__getattribute__(name)


fsspec.register_implementation("unreliable", UnreliableFileSystem, clobber=True)


@contextmanager
def outage() -> Iterator[type[UnreliableFileSystem]]:
    """The store cannot be reached while the block runs."""
    UnreliableFileSystem.away, UnreliableFileSystem.failed = True, 0
    try:
        yield UnreliableFileSystem
    finally:
        UnreliableFileSystem.away = False

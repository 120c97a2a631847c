"""An object store in memory that can be taken away, and then fails as S3's client does."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class EndpointConnectionError(Exception):
    """As botocore's: no OSError."""


class UnreliableFileSystem(MemoryFileSystem):
    """`away` is the share of operations that fail: all, none or a share by chance; `failed` counts them."""

    protocol = "unreliable"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    away: ClassVar[float] = False
    chance: ClassVar[Random] = Random(0)  # noqa: S311 (chance, not secrecy)
    failed = 0

    def __getattribute__(self, name: str) -> Any:
        """Fail instead of an operation, while the store is away."""
        cls = UnreliableFileSystem
        operations = {"pipe_file", "cat_file", "find", "rm_file", "info"}
        if cls.away and name in operations and cls.chance.random() < cls.away:
            cls.failed += 1
            raise EndpointConnectionError("Could not connect to the endpoint URL")
        return super().__getattribute__(name)


fsspec.register_implementation("unreliable", UnreliableFileSystem, clobber=True)


@contextmanager
def outage(share: float = True) -> Iterator[type[UnreliableFileSystem]]:
    """The store cannot be reached, or by chance for a share of operations, while the block runs."""
    UnreliableFileSystem.away, UnreliableFileSystem.failed = share, 0
    try:
        yield UnreliableFileSystem
    finally:
        UnreliableFileSystem.away = False

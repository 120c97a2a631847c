"""Datasets on their way to the service: the files are streamed, never whole in memory."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from regbench.connection import Connection
from regbench.errors import ClientError

_SECONDS = 900.0
"""A large dataset is read for minutes before the service responds."""


def send_dataset(
    connection: Connection,
    name: str,
    files: Sequence[Path | str],
    options: Mapping[str, Any],
    *,
    dry_run: bool,
) -> httpx.Response:
    """The response to an upload; sending it again changes nothing.

    Raises:
        ClientError: a file cannot be read.
    """
    with ExitStack() as stack:
        try:
            opened = [(Path(file).name, stack.enter_context(Path(file).open("rb"))) for file in files]
        except OSError as error:
            raise ClientError(f"{error.filename} cannot be read: {error.strerror}.", "") from None
        return connection.request(
            "POST",
            "/v1/datasets",
            idempotent=True,
            timeout=_SECONDS,
            params={"dry_run": dry_run},
            data={"name": name, "options": json.dumps(options)},
            files=[("files", file) for file in opened],
        )

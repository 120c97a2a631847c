"""What is uploaded to the service: datasets, streamed and never whole in memory, and images to predict."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from regbench.base import Choice, Items, Shape
from regbench.connection import Connection
from regbench.errors import ClientError
from regbench.resources import Dataset, Predictions, Preset, Technique

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


class CatalogueMethods:
    """The client's methods for datasets, techniques, presets, and predictions of images."""

    _http: Connection

    def _get(self, path: str, shape: type[Shape], **query: Any) -> Shape:
        raise NotImplementedError

    def _read(self, response: httpx.Response, shape: type[Shape]) -> Shape:
        raise NotImplementedError

    def datasets(self) -> list[Dataset]:
        """The datasets that the service knows."""
        return self._get("/v1/datasets", Items[Dataset]).items

    def dataset(self, name: str) -> Dataset:
        """One dataset."""
        return self._get(f"/v1/datasets/{name}", Dataset)

    def add_dataset(self, name: str, files: Sequence[Path | str], **options: Any) -> Dataset:
        """Upload files as a dataset of your own; `options` have the API's names, such as `resize=True`."""
        return self._read(send_dataset(self._http, name, files, options, dry_run=False), Dataset)

    def preview_dataset(self, files: Sequence[Path | str], **options: Any) -> Dataset:
        """What would be stored, with `images` in its `model_extra`; stores nothing."""
        return self._read(send_dataset(self._http, "preview", files, options, dry_run=True), Dataset)

    def delete_dataset(self, name: str) -> None:
        """Remove a dataset of your own."""
        self._http.request("DELETE", f"/v1/datasets/{name}", idempotent=True)

    def techniques(self) -> list[Technique]:
        """Every technique that the service knows."""
        return self._get("/v1/techniques", Items[Technique]).items

    def technique(self, name: str) -> Technique:
        """One technique."""
        return self._get(f"/v1/techniques/{name}", Technique)

    def presets(self) -> list[Preset]:
        """Every ready experiment."""
        return self._get("/v1/presets", Items[Preset]).items

    def preset(self, name: str) -> Preset:
        """One ready experiment."""
        return self._get(f"/v1/presets/{name}", Preset)

    def predict(
        self,
        job_id: str,
        images: Sequence[bytes],
        *,
        invert: Choice = "auto",
        center: Choice = "auto",
        dropout_samples: int | None = None,
    ) -> Predictions:
        """The predictions of a succeeded job's model for the contents of PNG or JPEG files, up to 256.

        `invert`: whether ink is dark; auto looks at the border. `center`: whether to box and centre the digit
        as MNIST does; auto leaves an image of 28x28 as it is. With `dropout_samples` (2 to 100) dropout is
        active in so many passes: probabilities are their means, and `dropout` has their spread.
        """
        samples = {} if dropout_samples is None else {"dropout_samples": dropout_samples}
        response = self._http.request(
            "POST",
            f"/v1/jobs/{job_id}/predict",
            idempotent=True,
            params={"invert": invert, "center": center, **samples},
            files=[("image", ("image", content)) for content in images],
        )
        return self._read(response, Predictions)

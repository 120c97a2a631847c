"""What a trained model answers, kept as a file: natural logarithms of its probabilities for the test images.

With `evaluation.memorization` also which of the dataset's training images it was trained on and gets right.
"""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import ArtifactStore
from models.errors import NotFound

SUFFIX = ".npz"


@dataclass(frozen=True)
class TrainingAnswers:
    """Of a dataset's training images (n,), in their order: which the model was trained on, and gets right."""

    seen: NDArray[np.bool_]
    correct: NDArray[np.bool_]


@dataclass(frozen=True)
class TestPredictions:
    """Log-probabilities (n, classes) and labels (n,), in the order of the dataset's test images."""

    __test__ = False  # for pytest, which would collect it

    log_probabilities: NDArray[np.float32]
    labels: NDArray[np.int32]
    training: TrainingAnswers | None = None
    """Where the specification asks for it."""

    def to_bytes(self) -> bytes:
        """As an `.npz` file; equal predictions are equal bytes."""
        file = io.BytesIO()
        arrays: dict[str, Any] = {"log_probabilities": self.log_probabilities, "labels": self.labels}
        if self.training is not None:
            # One bit an image, and their number, which whole bytes do not say.
            arrays |= {
                "training_images": np.array(len(self.training.seen)),
                "training_seen": np.packbits(self.training.seen),
                "training_correct": np.packbits(self.training.correct),
            }
        # NumPy writes the same date into every archive.
        np.savez(file, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TestPredictions":
        """What `to_bytes` has written."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            training = None
            if "training_images" in arrays:
                n = int(arrays["training_images"])
                seen, correct = (
                    np.unpackbits(arrays[name], count=n).astype(np.bool_)
                    for name in ("training_seen", "training_correct")
                )
                training = TrainingAnswers(seen, correct)
            return cls(arrays["log_probabilities"], arrays["labels"], training)

    def to_csv(self) -> str:
        """A row for each image: its index, its label, and digits enough for the same 32-bit numbers."""
        digits = math.ceil(1 + 24 * math.log10(2))
        columns = [f"log_probability_{index}" for index in range(self.log_probabilities.shape[1])]
        rows = zip(self.labels.tolist(), self.log_probabilities.tolist(), strict=True)
        lines = [
            ",".join([f"{index},{label}", *(f"{value:.{digits}g}" for value in values)])
            for index, (label, values) in enumerate(rows)
        ]
        return "\r\n".join([",".join(["image", "label", *columns]), *lines, ""])


def read_test_predictions(store: ArtifactStore, job_id: str, path: str | None, sha256: str | None) -> bytes:
    """The `.npz` file of a job's test predictions.

    Raises:
        NotFound: the file has been removed, the job is from before such files were kept, or it used no test
            images.
        ArtifactCorrupted: it is not the file that was stored.
    """
    if path is None:
        raise NotFound(f"Job {job_id} was trained without the test images (`evaluation.test`: false).")
    if not path.endswith(SUFFIX):
        raise NotFound(
            f"Job {job_id} is from before log-probabilities were kept; train it again for test predictions."
        )
    return store.get(path, sha256=sha256)

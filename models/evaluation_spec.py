"""What is measured of a finished model: the part of the specification that changes no weights."""

from pydantic import Field

from models.dataset_spec import DatasetSpec, SpecPart


class EvaluationSpec(SpecPart):
    """What is measured of the finished model besides its test images."""

    robustness: bool = Field(
        False,
        description="Whether the finished model is also measured on damaged test images: twelve kinds in "
        "five severities. Nothing is chosen by it",
    )
    memorization: bool = Field(
        False,
        # Specifications from before this field keep their hashes.
        exclude_if=lambda memorization: not memorization,
        description="Whether the finished model also answers all training images of the dataset, among them "
        "those it was not trained on: for the map of memorized images",
    )
    test: bool = Field(
        True,
        # Specifications from before this field keep their hashes.
        exclude_if=lambda test: test,
        description="Whether the finished model is measured on the test images at all; `false` where it only "
        "helps to choose settings",
    )

    def find_memorization_faults(self, dataset: DatasetSpec) -> list[tuple[bool, str]]:
        """Pairs of (whether it is so, why `memorization` cannot be asked for then)."""
        if not self.memorization:
            return []
        return [
            (
                not self.test,
                "the answers are stored beside those to the test images; omit one of the two",
            ),
            (
                dataset.label_noise > 0,
                (
                    "label noise gives each model labels of its own, and an image no label to memorize; omit "
                    "one of the two, or upload a dataset with wrong labels"
                ),
            ),
        ]

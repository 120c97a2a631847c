"""Bodies about datasets."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.http.schemas import ResponseModel
from models.dataset_cards import MOST_CLASSES
from models.dataset_spec import Seed
from models.spec import VISIBLE

Auto = Literal["auto"]
ClassName = Annotated[str, Field(min_length=1, max_length=40), VISIBLE]


class DatasetOptions(BaseModel):
    """How uploaded files are to be read, where that shall not be detected."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    scale: Annotated[float, Field(gt=0, le=65_535)] | Auto = Field(
        "auto",
        description="The number of a white pixel, such as 255 or 1; auto: detected, or refused where unclear",
    )
    invert: bool | Auto = Field(
        "auto",
        description="Whether ink is dark; auto: where the images' edges are light. Networks see light ink on "
        "black",
    )
    transpose: bool | Auto = Field(
        "auto", description="Whether rows and columns are exchanged; auto: in files named emnist"
    )
    resize: bool = Field(False, description="Whether images of other sizes are scaled to 28x28")
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of each class that becomes test data, where the files have no test data",
    )
    test_seed: Seed = Field(0, description="Seed of that share")
    split: str | None = Field(
        None,
        max_length=63,
        description="Which of several, such as `letters` in EMNIST's gzip.zip; a refusal lists them",
    )
    class_names: list[ClassName] | None = Field(
        None,
        min_length=2,
        max_length=MOST_CLASSES,
        description="Of the labels in their order; null: from folders, EMNIST's mapping.txt or KMNIST's "
        "classmap.csv, else the labels",
    )
    allow_duplicates: bool = Field(
        False, description="Whether more than 1 % of the test images may be among the training images"
    )


class Decision(ResponseModel):
    """Something that was detected or assumed."""

    name: str = Field(
        description="`scale`, `invert`, `transpose`, `header`, `labels`, `names`, `resize` or `test`"
    )
    detail: str


class ClassCount(ResponseModel):
    """How many images a class has."""

    name: str
    train: int
    test: int


class PreviewImage(ResponseModel):
    """An image as networks will see it."""

    label: int
    pixels: str = Field(description="Base64 of 28x28 bytes, row by row")


class Dataset(ResponseModel):
    """Images to train on: a built-in dataset, or an uploaded one."""

    name: str
    title: str
    licence: str | None = Field(description="Null for an uploaded dataset")
    built_in: bool
    available: bool = Field(
        description="Whether it is on this machine; otherwise a submission tries to download it"
    )
    digest: str = Field(
        description="SHA-256 of images and labels; of uploaded ones the same in whatever form and order they "
        "came"
    )
    classes: int
    train_examples: int
    test_examples: int
    sha256: dict[str, str] | None = Field(
        description="Of each uncompressed IDX file; null for an uploaded dataset"
    )
    counts: list[ClassCount] = Field(description="Of each class, in the order of its label, where uploaded")
    decisions: list[Decision] = Field(description="What was detected or assumed about uploaded files")
    warnings: list[str] = Field(description="Reasons to doubt an uploaded dataset")
    created_at: datetime | None = Field(description="Null for a built-in dataset, and in a dry run")


class DatasetPreview(Dataset):
    """What would be stored."""

    images: list[PreviewImage] = Field(description="Up to 64 training images")


class DatasetList(ResponseModel):
    """The built-in datasets, then the caller's own."""

    items: list[Dataset]

"""Names of uploaded datasets in specifications, replaced by what they stand for when a job is submitted."""

import re
from collections.abc import Callable
from functools import cache
from typing import Annotated

from fastapi import Depends

from api.http.bodies import validate_document
from api.http.dependencies import CallerDep, DatabaseDep
from models.dataset_cards import DATASETS, NAME_PATTERN, DatasetContent
from models.documents import Document
from models.errors import DatasetUnavailable, FieldError
from models.experiments import ExperimentSpec
from models.spec import JobSpec
from models.store.datasets import find_content

FindContent = Callable[[str], DatasetContent]


async def get_content_finder(caller: CallerDep, database: DatabaseDep) -> FindContent:
    """Finds the caller's datasets by name, each once."""

    @cache
    def find(name: str) -> DatasetContent:
        with database.read() as session:
            return find_content(session, caller.owner, name)

    return find


ContentFinderDep = Annotated[FindContent, Depends(get_content_finder)]


def resolve_job(spec: JobSpec, find: FindContent) -> JobSpec:
    """The specification with the content of its dataset, if that is an uploaded one.

    Raises:
        DatasetUnavailable: there is no such dataset, or its content is not the one in the specification.
        InvalidSpec: the specification does not fit the dataset.
    """
    if spec.dataset.name in DATASETS:
        return spec
    document = spec.model_dump(mode="json")
    _set_content(document["dataset"], find)
    return validate_document(JobSpec, document)


def resolve_experiment(spec: ExperimentSpec, find: FindContent) -> ExperimentSpec:
    """The same of an experiment's base and of the variants that name another dataset.

    Raises:
        DatasetUnavailable: there is no such dataset, or its content is not the one in the specification.
        InvalidSpec: the experiment does not fit the dataset.
    """
    document = spec.model_dump(mode="json", exclude_unset=True)
    is_uploaded = spec.base.dataset.name not in DATASETS
    errors: list[FieldError] = []
    datasets = _list_datasets(document)
    for pointer, dataset in datasets:
        if dataset["name"] not in DATASETS:
            try:
                _set_content(dataset, find)
            except DatasetUnavailable as error:
                errors += [FieldError(pointer + fault.pointer, fault.detail) for fault in error.errors]
        elif is_uploaded:
            dataset["content"] = None  # in a variant's merge patch: without the base's
    if errors:
        raise DatasetUnavailable(errors)
    # Where only built-in datasets are named, nothing has changed.
    is_same = all(dataset["name"] in DATASETS for _, dataset in datasets)
    return spec if is_same else validate_document(ExperimentSpec, document)


def _list_datasets(document: Document) -> list[tuple[str, Document]]:
    """The parts of an experiment's document that name a dataset, each with the pointer to what it is in."""
    parts = {"/base": document.get("base", {})}
    for index, variant in enumerate(document["variants"]):
        parts[f"/variants/{index}/changes"] = variant.get("changes", {})
    return [
        (pointer, dataset)
        for pointer, part in parts.items()
        if isinstance(dataset := part.get("dataset"), dict)
        and isinstance(name := dataset.get("name"), str)
        and re.fullmatch(NAME_PATTERN, name)
    ]


def _set_content(dataset: Document, find: FindContent) -> None:
    content = find(dataset["name"]).model_dump(mode="json")
    if dataset.get("content") not in (None, content):
        detail = f"{dataset['name']} contains other images now; omit content to train on those"
        raise DatasetUnavailable([FieldError("/dataset/content", detail)])
    dataset["content"] = content

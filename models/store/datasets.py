"""Uploaded datasets: their names, which belong to owners, and their files, which are shared.

A file is named for its content, so that one may serve several names. It goes with the last of them; who adds
or removes a name holds the digest's lock while it is decided whether the file stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from models.artifacts import ArtifactStore, get_dataset_file
from models.dataset_cards import DATASETS, DatasetContent
from models.dataset_spec import DatasetSpec
from models.errors import Conflict, DatasetUnavailable, FieldError, InvalidSpec, NotFound
from models.spec import PIXELS
from models.states import UNFINISHED
from models.store.database import UNFILTERED
from models.store.quotas import acquire_advisory_lock
from models.store.tables import Dataset, Job
from models.store.transitions import get_database_now

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class NewDataset:
    """A dataset to store: whose it is, its name, its sizes, and what else is shown of it."""

    owner: str
    name: str
    content: DatasetContent
    summary: dict[str, Any]


def get_content(dataset: Dataset) -> DatasetContent:
    """What a specification must know of it."""
    return DatasetContent(
        digest=dataset.digest,
        classes=len(dataset.summary["counts"]),
        train_examples=dataset.train_examples,
        test_examples=dataset.test_examples,
    )


def find_datasets(session: Session, owner: str) -> Sequence[Dataset]:
    """An owner's datasets, by name."""
    return session.scalars(select(Dataset).where(Dataset.owner == owner).order_by(Dataset.name)).all()


def find_uploaded_names(session: Session, owner: str) -> list[str]:
    """Their names."""
    return [dataset.name for dataset in find_datasets(session, owner)]


def get_dataset(session: Session, owner: str, name: str) -> Dataset:
    """One dataset.

    Raises:
        NotFound: the owner has none of that name.
    """
    dataset = session.get(Dataset, (owner, name))
    if dataset is None:
        names = ", ".join([*DATASETS, *find_uploaded_names(session, owner)])
        raise NotFound(f"You have no dataset of the name {name}; there are {names}.")
    return dataset


def find_content(session: Session, owner: str, name: str) -> DatasetContent:
    """What a specification must know of an owner's dataset.

    Raises:
        DatasetUnavailable: there is none of that name.
    """
    dataset = session.get(Dataset, (owner, name))
    if dataset is None:
        choices = ", ".join([*DATASETS, *find_uploaded_names(session, owner)])
        detail = f"there is no dataset {name}; choose one of {choices}, or upload it"
        raise DatasetUnavailable([FieldError("/dataset/name", detail)])
    return get_content(dataset)


def find_class_names(session: Session, owner: str, dataset: DatasetSpec) -> list[str] | None:
    """The names of a dataset's classes; None where they are called by their numbers, or it was removed."""
    if dataset.content is None:
        card = DATASETS.get(dataset.name)
        return list(card.class_names) or None if card else None
    uploaded = select(Dataset).where(Dataset.owner == owner, Dataset.digest == dataset.content.digest)
    # The same images may have several names, and other names of their classes under each.
    rows = sorted(session.scalars(uploaded), key=lambda row: (row.name != dataset.name, row.name))
    names = [count["name"] for row in rows[:1] for count in row.summary["counts"]]
    return None if names == [str(label) for label in range(len(names))] else names


def check_name(
    session: Session, new: NewDataset, *, most_datasets: int, most_megabytes: int
) -> Dataset | None:
    """The dataset that has this name and content already; None: it may be stored.

    Raises:
        InvalidSpec: the name is a built-in dataset's, or the owner has as much as is allowed.
        Conflict: the name stands for another content.
    """
    if new.name in DATASETS:
        raise InvalidSpec([FieldError("/name", f"{new.name} is a built-in dataset; choose another name")])
    existing = session.get(Dataset, (new.owner, new.name))
    if existing is not None:
        if existing.digest == new.content.digest:
            return existing
        raise Conflict(f"You have another dataset of the name {new.name}; delete it first, or choose a name.")
    size = func.sum(Dataset.train_examples + Dataset.test_examples)
    count, examples = session.execute(
        select(func.count(), func.coalesce(size, 0)).where(Dataset.owner == new.owner)
    ).one()
    if count >= most_datasets:
        detail = f"exceeds the limit of {most_datasets} datasets per owner; delete one first"
        raise InvalidSpec([FieldError("/name", detail)])
    examples += new.content.train_examples + new.content.test_examples
    if examples * PIXELS > most_megabytes * _MEGABYTE:
        detail = (
            f"makes {examples * PIXELS / _MEGABYTE:,.0f} MB of pixels; one owner may have {most_megabytes:,} "
            "MB: delete another dataset first"
        )
        raise InvalidSpec([FieldError("/files", detail)])
    return None


def lock_content(session: Session, owner: str, digest: str) -> None:
    """Nobody else changes the owner's datasets or removes that file before the commit."""
    acquire_advisory_lock(session, f"datasets {owner}")
    acquire_advisory_lock(session, f"dataset {digest}")


def build_row(new: NewDataset) -> Dataset:
    """The row of a dataset, not stored."""
    sizes = {field: getattr(new.content, field) for field in ("digest", "train_examples", "test_examples")}
    return Dataset(owner=new.owner, name=new.name, summary=new.summary, **sizes)


def create_dataset(session: Session, new: NewDataset) -> Dataset:
    """Store a dataset's name, whose content is locked, allowed by `check_name`, and in the artifact store."""
    dataset = build_row(new)
    dataset.created_at = get_database_now(session)
    session.add(dataset)
    session.flush()
    return dataset


def delete_dataset(session: Session, store: ArtifactStore, owner: str, name: str) -> None:
    """Remove a dataset, and its file if no other name stands for it.

    Raises:
        NotFound: the owner has none of that name.
        Conflict: a job waits for it or trains on it.
    """
    dataset = get_dataset(session, owner, name)
    lock_content(session, owner, dataset.digest)
    query = _select_jobs(dataset).where(Job.state.in_(UNFINISHED))
    if job_id := session.scalar(query.limit(1)):
        raise Conflict(f"Job {job_id} has not ended and needs the dataset {name}; cancel it, or wait for it.")
    session.delete(dataset)
    session.flush()
    others = select(Dataset.name).where(Dataset.digest == dataset.digest).limit(1)
    if session.scalar(others, execution_options=UNFILTERED) is None:
        # Before the commit: where the store cannot be reached, the dataset stays.
        store.remove(get_dataset_file(dataset.digest))


def find_unused_datasets(session: Session, *, days: float) -> list[Dataset]:
    """Datasets older than so many days, on which no job waits, trains or was submitted since."""
    oldest = get_database_now(session) - timedelta(days=days)
    return [
        dataset
        for dataset in session.scalars(select(Dataset).where(Dataset.created_at < oldest))
        if session.scalar(
            _select_jobs(dataset).where((Job.created_at >= oldest) | Job.state.in_(UNFINISHED)).limit(1)
        )
        is None
    ]


def _select_jobs(dataset: Dataset) -> Select[str]:
    return select(Job.id).where(Job.owner == dataset.owner, Job.dataset == dataset.name)

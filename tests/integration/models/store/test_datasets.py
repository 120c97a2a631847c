"""Uploaded datasets belong to their owners."""

from datetime import timedelta

import pytest

from models.dataset_cards import DatasetContent
from models.errors import DatasetUnavailable, NotFound
from models.spec import JobSpec
from models.store.database import Database
from models.store.datasets import (
    NewDataset,
    create_dataset,
    find_content,
    find_datasets,
    find_unused_datasets,
    find_uploaded_names,
    get_dataset,
)
from models.store.jobs import NewJob, create_jobs
from models.store.transitions import get_database_now

SUMMARY = {
    "counts": [{"name": name, "train": 1, "test": 1} for name in "ab"],
    "decisions": [],
    "warnings": [],
}


def store(database: Database, owner: str, digest: str) -> DatasetContent:
    content = DatasetContent(digest=digest * 64, classes=2, train_examples=2, test_examples=2)
    with database.write() as session:
        create_dataset(session, NewDataset(owner, "letters", content, SUMMARY))
    return content


def test_one_name_stands_for_the_dataset_of_whoever_uses_it(database: Database) -> None:
    ours, theirs = store(database, "ours", "a"), store(database, "theirs", "b")
    for owner, content in (("ours", ours), ("theirs", theirs)):
        with database.for_owner(owner).read() as session:
            assert find_content(session, owner, "letters") == content
            assert find_uploaded_names(session, owner) == ["letters"]
    # A session of one owner finds nothing of another, whatever is asked.
    with database.for_owner("ours").read() as session:
        assert list(find_datasets(session, "theirs")) == []
        with pytest.raises(NotFound):
            get_dataset(session, "theirs", "letters")
        with pytest.raises(DatasetUnavailable, match="choose one of mnist, fashion_mnist, mnist_5k, letters"):
            find_content(session, "ours", "others")


def test_a_dataset_is_unused_when_it_is_old_and_no_job_on_it_is_new(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = store(database, "ours", "a")
    store(database, "theirs", "b")
    dataset = {"name": "letters", "content": content.model_dump(), "train_samples": None}
    spec = JobSpec.model_validate({"dataset": dataset, "training": {"batch_size": 1}})
    with database.write() as session:
        create_jobs(session, [NewJob(spec, owner="ours")])
    with database.read() as session:
        assert find_unused_datasets(session, days=1) == []
        later = get_database_now(session) + timedelta(days=2)
        monkeypatch.setattr("models.store.datasets.get_database_now", lambda _session: later)
        # Our job still waits.
        assert [dataset.owner for dataset in find_unused_datasets(session, days=1)] == ["theirs"]

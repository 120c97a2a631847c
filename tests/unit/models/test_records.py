from dataclasses import fields
from typing import get_type_hints

from models.records import EpochRecord, Progress, ResultRecord
from models.store.tables import Epoch, Job, Result

# What results from before these were recorded do not have.
LATER = {"near_zero_weight_fraction", "layers", "confusion", "test_correct", "diagnostics", "regbench"}


def names(record: type[EpochRecord | ResultRecord | Progress]) -> set[str]:
    return {field.name for field in fields(record)}


def test_an_epoch_record_fills_every_column_of_its_row() -> None:
    assert names(EpochRecord) == set(Epoch.__table__.columns.keys()) - {"job_id", "attempt"}


def test_a_result_record_fills_every_column_of_its_row() -> None:
    assert names(ResultRecord) == set(Result.__table__.columns.keys()) - {"job_id"}


def test_the_same_fields_are_nullable_in_records_and_columns() -> None:
    for record, table, later in (
        (EpochRecord, Epoch.__table__, set()),
        (ResultRecord, Result.__table__, LATER),
    ):
        optional = {name for name, hint in get_type_hints(record).items() if "None" in str(hint)}
        assert optional | later == {column.name for column in table.columns if column.nullable}


def test_progress_names_columns_of_the_job() -> None:
    assert names(Progress) < set(Job.__table__.columns.keys())

"""A worker of a former release must be able to tell that it does not understand a specification."""

import hashlib
import json

from models.spec import JobSpec
from models.spec_format import NEWEST_FORMAT, get_format
from tests.factories import job_spec


def test_a_specification_has_the_oldest_format_that_has_all_that_it_uses() -> None:
    assert get_format(JobSpec()) == get_format(job_spec(regularization={"dropout": {"rate": 0.5}})) == 1
    assert get_format(job_spec(evaluation={"test": False})) == 2
    assert get_format(job_spec(evaluation={"memorization": True})) == 3


def test_a_new_field_of_specifications_has_a_format() -> None:
    """One that fails here needs an entry in models/spec_format.py, then the new digest."""
    schema = JobSpec.model_json_schema()
    fields = {name: sorted(part.get("properties", ())) for name, part in schema["$defs"].items()}
    fields["JobSpec"] = sorted(schema["properties"])
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    assert (NEWEST_FORMAT, digest[:16]) == (3, "e8d5d334d8238612")

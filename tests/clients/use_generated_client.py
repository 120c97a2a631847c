"""Uses the generated Python client for test_generated_clients.py; run with the service's URL."""

import sys
import time
from typing import Any

from regbench_client import Client
from regbench_client.api.experiments import create_experiment, show_experiment
from regbench_client.api.jobs import create_job, show_job
from regbench_client.api.reports import show_experiment_report
from regbench_client.models import ExperimentSpec, JobSpec

JOB: dict[str, Any] = {
    "dataset": {"name": "mnist_5k"},
    "model": {"family": "mlp", "hidden_units": [16]},
    "training": {"epochs": 1},
}
DEADLINE_SECONDS = 300

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)
deadline = time.monotonic() + DEADLINE_SECONDS
job = create_job.sync(client=client, body=JobSpec.from_dict(JOB))
while job.state not in ("succeeded", "failed", "cancelled"):
    assert time.monotonic() < deadline, job
    time.sleep(0.2)
    job = show_job.sync(job.id, client=client)
assert job.state == "succeeded", job
assert job.result.test_accuracy > 0.5
assert job.spec.model.hidden_units == [16]

spec = {
    "name": "generated client",
    "base": JOB,
    "variants": [
        {"name": "none"},
        {"name": "dropout", "changes": {"regularization": {"dropout": {"rate": 0.5}}}},
    ],
}
experiment = create_experiment.sync(client=client, body=ExperimentSpec.from_dict(spec))
assert experiment.spec.variants[1].name == "dropout"
while not experiment.progress.finished:
    assert time.monotonic() < deadline, experiment
    time.sleep(0.2)
    experiment = show_experiment.sync(experiment.id, client=client)
report = show_experiment_report.sync(experiment.id, client=client)
assert report.title == "generated client"
assert [variant.name for variant in report.variants] == ["none", "dropout"]

"""The README's commands, run unchanged against a running service."""

import re
from pathlib import Path

from regbench.client import Regbench
from regbench.resources import JobState
from tests.acceptance.conftest import run
from tests.acceptance.pages import run_blocks, shell_blocks


def test_the_curl_commands_of_the_readme_do_what_it_says(url: str, client: Regbench, tmp_path: Path) -> None:
    assert sum(block.count("curl ") for block in shell_blocks("README.md")) == 7
    output = run_blocks("README.md", url=url, folder=tmp_path, then='echo "$JOB $EXPERIMENT"')
    job_id, experiment_id = output.splitlines()[-1].split()
    job = client.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.result is not None
    assert job.result.test_accuracy > 0.8
    assert set(job.spec["regularization"]) == {"dropout", "l2"}
    assert [record.epoch for record in client.epochs(job_id)] == [1, 2, 3, 4, 5]
    assert [job.state for job in client.jobs_of(experiment_id)] == [JobState.SUCCEEDED] * 6
    assert re.search(r"^epoch,", output, re.MULTILINE), "the epochs as CSV"
    for variant in ("without Dropout", "with Dropout"):
        line = rf"^Model {variant} - Test Loss: 0\.\d{{4}}, Test Accuracy: 0\.\d{{4}}\s*$"
        assert re.search(line, output, re.MULTILINE), output

    # By the command, its runs are reused, and it ends with the answer and the page's address.
    changes = ("--set", "base.dataset.name=mnist_5k", "--set", "base.training.epochs=5", "--seeds", "0-2")
    ended = run("experiment", "run", "dropout-vs-none", *changes, REGBENCH_URL=url)
    assert ended.returncode == 0, ended.stderr
    created_id = ended.stdout.split()[0]
    headline = client.experiment(created_id).headline
    assert headline
    assert ended.stderr.splitlines()[-3:] == [
        headline,
        f"Report: regbench report {created_id}",
        f"Page:   {url}/experiments/{created_id}",
    ]

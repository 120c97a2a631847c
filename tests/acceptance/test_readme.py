"""The README's lines, run as they stand against a running service."""

import os
import re
import subprocess
from pathlib import Path

from client.client import Regbench
from models.states import JobState
from tests.acceptance.conftest import DEADLINE_SECONDS

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_curl_lines_do_what_it_says(url: str, client: Regbench) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert sum(block.count("curl ") for block in blocks) == 7
    script = "set -euo pipefail\n" + "".join(blocks) + '\necho "$JOB $EXPERIMENT"\n'

    done = subprocess.run(
        ["bash", "-c", script],  # noqa: S607 (the README's reader has a shell on the PATH)
        env=os.environ | {"REGBENCH_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )

    assert (done.returncode, done.stderr) == (0, "")
    job_id, experiment_id = done.stdout.splitlines()[-1].split()
    job = client.job(job_id)
    assert job.state is JobState.SUCCEEDED
    assert job.result is not None
    assert job.result.test_accuracy > 0.8
    assert set(job.spec["regularization"]) == {"dropout", "l2"}
    assert [each.epoch for each in client.epochs(job_id)] == [1, 2, 3, 4, 5]
    assert [each.state for each in client.jobs_of(experiment_id)] == [JobState.SUCCEEDED] * 6
    assert re.search(r"^epoch,", done.stdout, re.MULTILINE), "the epochs as CSV"
    for variant in ("without Dropout", "with Dropout"):
        line = rf"^Model {variant} - Test Loss: 0\.\d{{4}}, Test Accuracy: 0\.\d{{4}}\s*$"
        assert re.search(line, done.stdout, re.MULTILINE), done.stdout

"""`regbench watch`."""

import time
from collections.abc import Sequence

import typer
from rich.console import Console

from regbench.cli.options import (
    CANCELLED,
    FAILED,
    INTERRUPTED,
    SUCCEEDED,
    CommandClient,
    Ids,
    JsonLines,
    Url,
    echo_message,
    is_experiment_id,
    make_stderr_console,
)
from regbench.cli.polling import POLL_SECONDS, poll_until_finished
from regbench.cli.progress import Records, make_display
from regbench.resources import Job, JobState


def watch(ids: Ids, url: Url = None, as_json: JsonLines = False) -> None:
    """Show the progress of jobs until they end. Ctrl-C stops watching; the jobs continue.

    A terminal shows a progress bar for each job, with its epoch, validation accuracy, time left and
    validation loss, and a summary of all jobs. Elsewhere, plain lines are printed from time to time. The exit
    code is the worst outcome: 0 succeeded, 1 failed, 2 cancelled.

    \b
    Examples:
      regbench watch job_1 job_2
      regbench watch exp_1 --json | jq -r .state
    """
    raise typer.Exit(watch_until_finished(url, ids, as_json=as_json))


def watch_until_finished(url: str | None, ids: Sequence[str], *, as_json: bool = False) -> int:
    """Show jobs, and those of experiments, until they end; returns the exit code."""
    stderr = make_stderr_console()
    try:
        # No retries: the loop itself waits for an absent service, and says so.
        with (
            CommandClient(url, retries=0) as client,
            Records(Console(soft_wrap=True), stderr) if as_json else make_display(stderr) as display,
        ):
            ids = client.expand_ids(ids)
            experiment_ids = [name for name in ids if is_experiment_id(name)]
            planned = {name: client.experiment(name).planned_trials for name in experiment_ids}
            display.planned_trials = sum(planned.values())
            tuned = [name for name in experiment_ids if planned[name]]
            while True:
                members: dict[str, Job] = {}
                for name in ids:
                    listed = client.jobs_of(name) if name in experiment_ids else [client.job(name)]
                    members |= {job.id: job for job in listed}
                jobs = poll_until_finished(client, list(members.values()), display, tuned=tuned)
                # An experiment may add seeds. An older service reports no progress of one.
                experiments = [client.experiment(name) for name in experiment_ids]
                if all(experiment.progress is None or experiment.finished for experiment in experiments):
                    break
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        echo_message(f"The jobs continue. Watch again with: regbench watch {' '.join(ids)}")
        return INTERRUPTED
    for job in jobs:
        if job.error:
            echo_message(f"{job.title} ({job.id}) failed: {job.error.message}")
    states = {job.state for job in jobs}
    if JobState.FAILED in states:
        return FAILED
    return CANCELLED if JobState.CANCELLED in states else SUCCEEDED

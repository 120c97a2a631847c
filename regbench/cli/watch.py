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
    Ids,
    JsonLines,
    Url,
    is_experiment,
    say,
    stderr_console,
)
from regbench.cli.polling import POLL_SECONDS, Display, follow
from regbench.cli.progress import Records, display_on
from regbench.client import Regbench
from regbench.resources import Experiment, Job, JobState


def watch(ids: Ids, url: Url = None, as_json: JsonLines = False) -> None:
    """Show jobs until they end. Ctrl-C ends the watching, not the jobs.

    On a terminal: for each job a bar, epochs, validation accuracy, time left and the course of its validation
    loss; below them how much of all is done, and about how long it takes yet. Elsewhere now and then a plain
    line. The exit code tells the worst outcome: 0 succeeded, 1 failed, 2 cancelled.

    \b
    Examples:
      regbench watch job_1 job_2
      regbench watch exp_1 --json | jq -r .state
    """
    raise typer.Exit(watched(url, ids, as_json=as_json))


def watched(url: str | None, ids: Sequence[str], *, as_json: bool = False) -> int:
    """Show jobs, and those of experiments, until they end; returns the exit code."""
    stderr = stderr_console()
    try:
        # The loop has a patience of its own, and says so.
        with (
            Regbench(url, retries=0) as client,
            Records(Console(soft_wrap=True), stderr) if as_json else display_on(stderr) as display,
        ):
            ended = _followed(client, ids, display)
    except KeyboardInterrupt:
        say(f"No longer watching; the jobs go on. Watch again with: regbench watch {' '.join(ids)}")
        return INTERRUPTED
    for job in ended:
        if job.error:
            say(f"{job.title} ({job.id}) failed: {job.error.message}")
    return _code(ended)


def _followed(client: Regbench, ids: Sequence[str], display: Display) -> list[Job]:
    """The jobs once they have ended, and no experiment among `ids` adds seeds any more."""
    while True:
        experiments = [client.experiment(each) for each in ids if is_experiment(each)]
        ended = follow(client, _jobs_named(client, ids), display)
        # Of an older service, which says nothing of progress, the jobs are all there is to know.
        if all(_complete(client, each) for each in experiments):
            return ended
        time.sleep(POLL_SECONDS)


def _complete(client: Regbench, experiment: Experiment) -> bool:
    return experiment.progress is None or client.experiment(experiment.id).finished


def _jobs_named(client: Regbench, ids: Sequence[str]) -> list[Job]:
    """The jobs of these ids, and of these experiments, each once."""
    found: dict[str, Job] = {}
    for each in ids:
        jobs = client.jobs_of(each) if is_experiment(each) else [client.job(each)]
        found |= {job.id: job for job in jobs}
    return list(found.values())


def _code(ended: Sequence[Job]) -> int:
    states = {job.state for job in ended}
    if JobState.FAILED in states:
        return FAILED
    return CANCELLED if JobState.CANCELLED in states else SUCCEEDED

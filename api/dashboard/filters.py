"""How values are written on every page."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape
from sqlalchemy import Row

from api.jobs import schemas as job_schemas
from models.formatting import format_techniques
from models.states import JobState

SIGNS = {
    JobState.QUEUED: "·",
    JobState.RUNNING: "▸",
    JobState.PAUSED: "‖",
    JobState.SUCCEEDED: "✓",
    JobState.FAILED: "✕",
    JobState.CANCELLED: "⊘",
}
"""A sign for each state, so that none is told by its colour alone."""


def marked(words: str) -> Markup:
    """Words whose parts between backticks are code."""
    # Escaped first: what is left of the words is text, and backticks are no markup.
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", str(escape(words))))  # noqa: S704


def badge(state: JobState) -> Markup:
    """A state: its sign, its word, its colour."""
    return Markup('<span class="badge {0}"><span aria-hidden="true">{1}</span> {0}</span>').format(
        state, SIGNS[state]
    )


def title(job: job_schemas.Job | Row[Any]) -> str:
    """What a job is called: as its owner, else as its experiment, else as its techniques do."""
    return str(job.name or job.variant or format_techniques(job.spec["regularization"]))


def full_title(job: job_schemas.Job | Row[Any]) -> str:
    """The title with the seed, which those that experiments give have already."""
    called, seed = title(job), f"seed {job.spec['seed']}"
    return called if called.endswith(seed) else f"{called}, {seed}"


def percent(share: float) -> str:
    """A share as `97.89 %`."""
    return f"{100 * share:.2f} %"


def moment(at: datetime) -> Markup:
    """When something was, as seen from now; the moment itself is in its title."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S} UTC", ago(datetime.now(UTC) - at)
    )


def ago(span: timedelta) -> str:
    """A span of time that has passed, in its largest unit."""
    seconds = int(span.total_seconds())
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "just now"

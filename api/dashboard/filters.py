"""Formats values for the templates."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from markupsafe import Markup, escape
from sqlalchemy import Row

from api.glossary import TERMS, build_link
from api.http.root_path import add_root
from api.jobs import schemas as job_schemas
from models.dataset_cards import UNRESOLVED
from models.dataset_spec import DatasetSpec
from models.formatting import format_count, format_techniques
from models.run_key import name_row
from models.selection import is_at_chance
from models.states import JobState

STATE_SYMBOLS = {
    JobState.QUEUED: "·",
    JobState.RUNNING: "▸",
    JobState.PAUSED: "‖",
    JobState.SUCCEEDED: "✓",
    JobState.FAILED: "✕",
    JobState.CANCELLED: "⊘",
}
"""A symbol for each state, which distinguishes states without colour."""


AT_CHANCE = "no better than chance"


def is_job_at_chance(job: job_schemas.Job) -> bool:
    """Whether a finished job's model does no better on the test images than guessing a class."""
    return job.result is not None and is_accuracy_at_chance(job.result.test_accuracy, job.spec["dataset"])


def is_accuracy_at_chance(accuracy: float | None, dataset: Mapping[str, Any]) -> bool:
    """Whether guessing gives as much on a specification's dataset; False where its sizes are unknown."""
    card = DatasetSpec.model_validate(dataset).card
    return card is not UNRESOLVED and is_at_chance(accuracy, card.classes, card.test_examples)


def render_inline_code(text: str) -> Markup:
    """Escaped text; what is between backticks becomes `<code>`."""
    # The text is escaped first, so the only markup is what the substitution adds.
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped first)


def render_breakable(name: str) -> Markup:
    """A name with dots, which may be broken behind each of them."""
    return Markup(".<wbr>").join(name.split("."))


def render_state_badge(state: JobState) -> Markup:
    """A state with its symbol, in its colour."""
    return Markup('<span class="badge {0}"><span aria-hidden="true">{1}</span> {0}</span>').format(
        state, STATE_SYMBOLS[state]
    )


def format_tab_title(state: JobState, fraction: float | None = None) -> str:
    """What a page's title begins with: the state's symbol, until the end with the share that is done."""
    share = "" if fraction is None or JobState(state).terminal else f" {100 * fraction:.0f} %"
    return f"{STATE_SYMBOLS[state]}{share} \N{EN DASH} "


def render_tab_icon(state: JobState | None = None) -> Markup:
    """The page's icon as a data URL: three bars in the colour of the state."""
    colour = _ICON_COLOURS.get(state, "%230060a8")
    bars = "M2 9h3v5H2zM6.5 5h3v9h-3zM11 2h3v12h-3z"
    return Markup(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
        "%3Cpath fill='{}' d='{}'/%3E%3C/svg%3E"
    ).format(colour, bars)


_ICON_COLOURS: dict[JobState | None, str] = {
    JobState.RUNNING: "%23e69f00",
    JobState.SUCCEEDED: "%2300916a",
    JobState.FAILED: "%23d55e00",
}


def format_title(job: job_schemas.Job | Row[Any]) -> str:
    """A job's name, else its techniques."""
    return str(name_row(job) or format_techniques(job.spec["regularization"]))


def format_full_title(job: job_schemas.Job | Row[Any]) -> str:
    """The title with the seed, which jobs of experiments have in their names."""
    title, seed = format_title(job), f"seed {job.spec['seed']}"
    return title if seed in title.split(", ") else f"{title}, {seed}"


@cache
def render_state_symbol(state: JobState) -> Markup:
    """A state as its symbol; hovering shows its name, which screen readers read."""
    return Markup(
        '<span class="symbol {0}" title="{0}"><span aria-hidden="true">{1}</span>'
        '<span class="visually-hidden">{0}</span></span>'
    ).format(state, STATE_SYMBOLS[state])


def format_percent(fraction: float) -> str:
    """A fraction as `97.89 %`."""
    return f"{100 * fraction:.2f} %"


def render_time_ago(time: datetime) -> Markup:
    """How long ago a time was; hovering shows the time itself."""
    day = f'<time datetime="{time.isoformat(timespec="seconds")}" title="{time:%Y-%m-%d %H:%M:%S} UTC">'
    return Markup(f"{day}{format_age(datetime.now(UTC) - time)}</time>")  # noqa: S704 (of numbers and own words)


def format_age(age: timedelta) -> str:
    """A time span that has passed, in its largest unit."""
    seconds = int(age.total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if count := seconds // size:
            return f"{format_count(count, unit)} ago"
    return "just now"


def link_term(term: str, text: str | None = None) -> Markup:
    """A link to a term of the glossary from prose; `link_terms` leaves the first of a page."""
    return build_link(term, text or term, add_root("/learn/glossary#"))


def list_terms() -> list[dict[str, str]]:
    """The glossary for static/terms.js, which links the labels that scripts write."""
    return [
        {"pattern": term.pattern, "href": add_root(f"/learn/glossary#{name}"), "title": term.short}
        for name, term in TERMS.items()
    ]

"""Comparisons of finished jobs: one typed Comparison, and one renderer for each format."""

from functools import cache
from importlib import import_module
from threading import Timer
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.reports import answers as answers
    from api.reports import bias_variance as bias_variance
    from api.reports import bias_variance_text as bias_variance_text
    from api.reports import charts as charts
    from api.reports import comparison as comparison
    from api.reports import csv_table as csv_table
    from api.reports import curves as curves
    from api.reports import ensembles as ensembles
    from api.reports import grouping as grouping
    from api.reports import html as html
    from api.reports import latex as latex
    from api.reports import markdown as markdown
    from api.reports import memorization as memorization
    from api.reports import mistakes as mistakes
    from api.reports import onsets as onsets
    from api.reports import recommendations as recommendations
    from api.reports import robustness as robustness
    from api.reports import targets as targets
    from api.reports import tuning as tuning

_IMPORT_DELAY_SECONDS = 1.0

_MODULES = {
    "answers",
    "bias_variance",
    "bias_variance_text",
    "charts",
    "comparison",
    "csv_table",
    "curves",
    "ensembles",
    "grouping",
    "html",
    "latex",
    "markdown",
    "memorization",
    "mistakes",
    "onsets",
    "recommendations",
    "robustness",
    "targets",
    "tuning",
}


def __getattr__(name: str) -> ModuleType:
    """Import a module when it is first used: NumPy, SciPy and Matplotlib would double the API's start."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def import_in_background() -> None:
    """Import what draws reports, once a process and without waiting for it.

    It takes a second, which the first reader of a report would wait for. It begins a second from now, so
    that it does not compete with the requests of the page that is being opened.
    """
    timer = Timer(_IMPORT_DELAY_SECONDS, import_module, [f"{__name__}.html"])
    timer.daemon = True
    timer.start()

"""A comparison as a document, in each format of a report."""

from typing import Literal

from api import reports
from api.reports.points import remove_points_from_names
from api.reports.schemas import Comparison

FormatName = Literal["json", "md", "html", "csv", "tex"]
MEDIA_TYPES: dict[FormatName, str] = {
    "json": "application/json",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "tex": "application/x-tex",
}
# What is made from people's words may load and run nothing; images lie in the charts themselves.
CSP_HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
LINKED_CSP_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"
}


def render_document(comparison: Comparison, form: FormatName) -> bytes:
    """The report in UTF-8, which needs nothing else."""
    if form == "json":
        # As it is: FastAPI would check every number of a large report once more.
        return remove_points_from_names(comparison).model_dump_json().encode()
    renderer = {"md": reports.markdown, "html": reports.html, "csv": reports.csv_table, "tex": reports.latex}
    text: str = renderer[form].render(comparison)
    return text.encode()

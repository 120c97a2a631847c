"""What every resource has in common: it keeps what it does not know, and the client that it came through."""

import unicodedata
from collections.abc import Sequence
from html import escape
from typing import Any, Generic, Literal, TypedDict, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr

Document = dict[str, Any]
ChartFormat = Literal["svg", "png", "pdf"]
ReportFormat = Literal["json", "md", "html", "csv", "tex"]  # in the API's order: typing caches equal literals


class Edit(TypedDict, total=False):
    """What may be changed of a job or experiment; None resets a field or removes a label."""

    name: str | None
    labels: dict[str, str | None] | None
    notes: str | None
    priority: int | None
    archived: bool | None


PredictionFormat = Literal["npz", "csv"]


class Resource(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    _origin: Any = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        """Keep the client through which this came: pydantic's validation context."""
        self._origin = context

    def to_json(self) -> str:
        """The whole document, as the service sent it."""
        return self.model_dump_json(indent=2)


def render_html_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """An HTML table for a notebook; everything is escaped."""

    def render_row(cells: Sequence[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    body = "".join(render_row(row, "td") for row in rows)
    return f"<table><thead>{render_row(head, 'th')}</thead><tbody>{body}</tbody></table>"


Choice = Literal["auto", "true", "false"]
Shape = TypeVar("Shape")
Item = TypeVar("Item")


class Items(BaseModel, Generic[Item]):
    """A list as the service sends it."""

    items: list[Item]


class Page(Items[Item], Generic[Item]):
    """A part of a list, and where the next one begins."""

    next_cursor: str | None


def to_one_line(text: str) -> str:
    """The text without control characters: a name may come from anyone, and a terminal obeys them."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)

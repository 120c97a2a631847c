"""Pagination: sort order, field selection, and cursors."""

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_args, get_origin
from urllib.parse import quote, unquote

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from models.errors import FieldError, InvalidSpec
from models.identifiers import ID_PATTERN
from models.metrics import METRICS
from models.store.job_search import NEWEST_FIRST, Cursor, SortOrder
from models.store.service_tables import ApiKey
from models.store.tables import Experiment, Result

SORTS = [f"{sign}{name}" for name in ("created_at", *METRICS) for sign in ("-", "")]
EXPERIMENT_SORTS = ["-created_at", "created_at", "name", "-name"]
NO_NUL = r"^[^\x00]*$"
_LARGEST = 2**31
Row = TypeVar("Row")

Fields = dict[str, Any]
"""Which fields of a document, as pydantic's `include` has them: each with those in it, or True for all."""


def make_sort_validator(sorts: Sequence[str]) -> Callable[[str], str]:
    """A validator of a sort parameter."""

    def validate(sort: str) -> str:
        if sort not in sorts:
            raise PydanticCustomError("sort", "choose from {choices}", {"choices": ", ".join(sorts)})
        return sort

    return validate


LimitQuery = Annotated[int, Field(ge=1, le=200, description="Maximum number of items in one page")]
CursorQuery = Annotated[str | None, Field(max_length=1_000, description="`next_cursor` of the previous page")]
SortQuery = Annotated[
    str,
    AfterValidator(make_sort_validator(SORTS)),
    Field(
        json_schema_extra={"enum": list(SORTS)},
        description="`-`: from high to low. By a metric of results only jobs that have it are listed",
    ),
]
FieldNames = Annotated[
    str | None,
    Field(
        max_length=2_000,
        description="Show only these fields of each item, separated by commas: "
        "`id,state,result.test_accuracy`",
    ),
]


def parse_sort(sort: str) -> SortOrder:
    """Parse a sort parameter such as `-test_accuracy`."""
    return SortOrder(by=sort.removeprefix("-"), descending=sort.startswith("-"))


def encode_cursor(cursor: Cursor, order: SortOrder = NEWEST_FIRST) -> str:
    """A position in a list of that order as opaque text for a URL."""
    match cursor.value:
        case datetime():
            value = cursor.value.isoformat()
        case str():
            value = quote(cursor.value, safe="")
        case _:
            value = repr(cursor.value)
    text = " ".join([_format_sort(order), value, str(cursor.id), str(cursor.variant)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def split_page(
    rows: list[Row], limit: int, build_cursor: Callable[[Row], str]
) -> tuple[list[Row], str | None]:
    """The first `limit` of up to `limit + 1` selected rows, and the cursor of the next page, if any."""
    page = rows[:limit]
    return page, build_cursor(page[-1]) if len(rows) > limit else None


def encode_created_at(row: ApiKey | Experiment) -> str:
    """The cursor after `row` in a list of the newest first."""
    return encode_cursor(Cursor(row.created_at, row.id))


def decode_cursor(cursor: str | None, order: SortOrder = NEWEST_FIRST) -> Cursor | None:
    """The position that `cursor` encodes; None: the beginning.

    Raises:
        InvalidSpec: it is not a cursor of this service, or belongs to a list of another order.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor, altchars="-_", validate=True).decode()
        sort, value, row_id, variant = text.split(" ", 3)
        known = sort in SORTS or sort in EXPERIMENT_SORTS
        if not known or not re.fullmatch(ID_PATTERN, row_id) or "\0" in variant:
            raise ValueError("not a position in a list")
        position = Cursor(_parse_value(value, parse_sort(sort).by), row_id, variant)
    except ValueError:
        raise InvalidSpec(
            [FieldError("?cursor", "not a cursor of this service; omit it to start from the beginning")]
        ) from None
    expected = _format_sort(order)
    if sort != expected:
        detail = f"belongs to a list with sort={sort}, not {expected}; omit it to start again"
        raise InvalidSpec([FieldError("?cursor", detail)])
    return position


def _format_sort(order: SortOrder) -> str:
    return f"{'-' if order.descending else ''}{order.by}"


def _parse_value(value: str, column: str) -> datetime | float | str:
    if column == "name":
        name = unquote(value, errors="strict")
        if "\0" in name:
            raise ValueError("no name")
        return name
    if column == "created_at":
        moment = datetime.fromisoformat(value)
        if moment.utcoffset() != timedelta(0):
            raise ValueError("not in UTC")
        return moment
    value_of_column: float = getattr(Result, column).type.python_type(value)
    # No column holds such a value, and databases refuse to compare it.
    if not math.isfinite(value_of_column) or (
        isinstance(value_of_column, int) and abs(value_of_column) >= _LARGEST
    ):
        raise ValueError("out of range")
    return value_of_column


def parse_fields(
    names: str | None, model: type[BaseModel], documents: Mapping[str, type[BaseModel]] = MappingProxyType({})
) -> Fields | None:
    """Which fields of `model` the names select; None: all.

    `documents` has the models of fields that `model` declares as plain objects.

    Raises:
        InvalidSpec: there is no such field; it names the existing ones.
    """
    if names is None:
        return None
    selected: Fields = {}
    for name in map(str.strip, names.split(",")):
        node: Any = selected
        kind: Any = model
        *parents, last = name.split(".")
        for part in parents:
            nested = documents.get(part) if kind is model else None
            kind = nested or _get_field_type(kind, part, name)
            node = node.setdefault(part, {})
            if node is True:
                break
            if any(get_origin(option) in (list, tuple) for option in (kind, *get_args(kind))):
                node = node.setdefault("__all__", {})
        else:
            _get_field_type(kind, last, name)
            node[last] = True
    return selected


def _get_field_type(kind: Any, part: str, name: str) -> Any:
    """The type of a field of `kind`. An object with arbitrary keys may hold anything under any of them."""
    available = {
        field: info.annotation for model in _iter_models(kind) for field, info in model.model_fields.items()
    }
    arbitrary_keys = not available and (get_origin(kind) is dict or kind is Any)
    if part not in available and not arbitrary_keys:
        choices = ", ".join(available)
        detail = f"there is no {name!r}; " + (
            f"choose from {choices}" if available else "its parent has no fields"
        )
        raise InvalidSpec([FieldError("?fields", detail)])
    return available.get(part, Any)


def _iter_models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    elif get_origin(kind) is not dict:
        for part in get_args(kind):
            yield from _iter_models(part)


def render_page(request: Request, page: BaseModel, cursor: str | None, fields: Fields | None) -> Response:
    """The response with a page, and a `Link` header to the first and next pages."""
    include: Fields | None = {"items": {"__all__": fields}, "next_cursor": True} if fields else None
    first = request.url.remove_query_params("cursor")
    links = [f'<{first.path}{"?" if first.query else ""}{first.query}>; rel="first"']
    if cursor is not None:
        next_url = request.url.include_query_params(cursor=cursor)
        links.append(f'<{next_url.path}?{next_url.query}>; rel="next"')
    return Response(
        page.model_dump_json(include=include),
        media_type="application/json",
        headers={"Link": ", ".join(links)},
    )

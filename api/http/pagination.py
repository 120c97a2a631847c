"""Pages of a list over HTTP: in which order, which fields of each item, and where the next page begins."""

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from models.errors import FieldError, InvalidSpec
from models.identifiers import ID_PATTERN
from models.store.job_search import NEWEST_FIRST, Order, Place
from models.store.tables import SORTABLE_MEASURES, Result

SORTS = [f"{sign}{name}" for name in ("created_at", *SORTABLE_MEASURES) for sign in ("-", "")]
_LARGEST = 2**31

Fields = dict[str, Any]
"""Which fields of a document, as pydantic's `include` has them: each with those in it, or True for all."""


def _known(sort: str) -> str:
    if sort not in SORTS:
        raise PydanticCustomError("sort", "choose from {choices}", {"choices": ", ".join(SORTS)})
    return sort


Limit = Annotated[int, Field(ge=1, le=200, description="Most items in one page")]
Cursor = Annotated[str | None, Field(max_length=200, description="`next_cursor` of the page before")]
Sort = Annotated[
    str,
    AfterValidator(_known),
    Field(
        json_schema_extra={"enum": list(SORTS)},
        description="`-`: from high to low. By a measure of results only jobs that have it are listed",
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


def order_of(sort: str) -> Order:
    """What `-test_accuracy` and the like mean."""
    return Order(by=sort.removeprefix("-"), descending=sort.startswith("-"))


def encode_cursor(place: Place, order: Order = NEWEST_FIRST) -> str:
    """An opaque name for `place` in a list of that order, fit for a URL."""
    value = place.value.isoformat() if isinstance(place.value, datetime) else repr(place.value)
    return base64.urlsafe_b64encode(f"{_name(order)} {value} {place.id}".encode()).decode()


def decode_cursor(cursor: str | None, order: Order = NEWEST_FIRST) -> Place | None:
    """The place that `cursor` names; None: the beginning.

    Raises:
        InvalidSpec: it is not one that the service gave, or belongs to a list of another order.
    """
    if cursor is None:
        return None
    try:
        sort, value, row_id = base64.b64decode(cursor, altchars="-_", validate=True).decode().split(" ")
        place = Place(_read(value, order_of(sort)), row_id) if sort in SORTS else None
    except (binascii.Error, ValueError):
        place = None
    if place is None or not re.fullmatch(ID_PATTERN, place.id):
        raise InvalidSpec([FieldError("?cursor", "not a cursor of this service; leave it out to start anew")])
    if sort != _name(order):
        detail = f"belongs to a list with sort={sort}, not {_name(order)}; leave it out to start anew"
        raise InvalidSpec([FieldError("?cursor", detail)])
    return place


def _name(order: Order) -> str:
    return f"{'-' if order.descending else ''}{order.by}"


def _read(value: str, order: Order) -> datetime | float:
    if order.by == "created_at":
        moment = datetime.fromisoformat(value)
        if moment.utcoffset() != timedelta(0):
            raise ValueError("not in UTC")
        return moment
    number: float = getattr(Result, order.by).type.python_type(value)
    # Beyond this no column reaches, and databases refuse to compare.
    if not math.isfinite(number) or (isinstance(number, int) and abs(number) >= _LARGEST):
        raise ValueError("no measure is as large")
    return number


def wanted_fields(
    names: str | None, model: type[BaseModel], documents: Mapping[str, type[BaseModel]] = MappingProxyType({})
) -> Fields | None:
    """Which fields of `model` the names ask for; None: all.

    Each of `documents` says what a field holds that the model calls a mere object.

    Raises:
        InvalidSpec: there is no such field; it names those that there are.
    """
    if names is None:
        return None
    wanted: Fields = {}
    for name in names.split(","):
        _add(wanted, name.strip(), model, documents)
    return wanted


def _add(wanted: Fields, name: str, model: type[BaseModel], documents: Mapping[str, type[BaseModel]]) -> None:
    node, here = wanted, {field: each.annotation for field, each in model.model_fields.items()}
    *parents, last = name.split(".")
    for part in parents:
        kind = documents.get(part) if node is wanted else None
        within = kind or _there(here, part, name)
        node = node.setdefault(part, {})
        if node is True:
            return
        if _is_list(within):
            node = node.setdefault("__all__", {})
        here = _fields_of(within)
    _there(here, last, name)
    node[last] = True


def _there(here: Mapping[str, Any], part: str, name: str) -> Any:
    """What the field holds. An object of free keys may hold anything under any of them."""
    if part not in here and "*" not in here:
        choices = ", ".join(here)
        detail = f"there is no {name!r}; " + (
            f"choose from {choices}" if here else "what it is in has no fields"
        )
        raise InvalidSpec([FieldError("?fields", detail)])
    return here.get(part, Any)


def _fields_of(kind: Any) -> dict[str, Any]:
    """The fields within a field; `*` for one whose keys are free."""
    found = {name: each.annotation for model in _models(kind) for name, each in model.model_fields.items()}
    return found or ({"*": Any} if _is_free(kind) else {})


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    elif get_origin(kind) is not dict:
        for part in get_args(kind):
            yield from _models(part)


def _is_free(kind: Any) -> bool:
    return get_origin(kind) is dict or kind is Any


def _is_list(kind: Any) -> bool:
    return any(get_origin(each) in (list, tuple) for each in (kind, *get_args(kind)))


def page_answer(request: Request, page: BaseModel, cursor: str | None, fields: Fields | None) -> Response:
    """A page as an answer whose `Link` leads to the first page and the next one."""
    shown: Fields | None = {"items": {"__all__": fields}, "next_cursor": True} if fields else None
    return Response(
        page.model_dump_json(include=shown),
        media_type="application/json",
        headers={"Link": _links(request, cursor)},
    )


def _links(request: Request, cursor: str | None) -> str:
    first = request.url.remove_query_params("cursor")
    links = [f'<{first.path}{"?" if first.query else ""}{first.query}>; rel="first"']
    if cursor is not None:
        following = request.url.include_query_params(cursor=cursor)
        links.append(f'<{following.path}?{following.query}>; rel="next"')
    return ", ".join(links)

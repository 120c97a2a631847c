"""Logs of every process: a line for each record, as text or JSON, with the request and job it is about."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

LogFormat = Literal["text", "json"]
_context: ContextVar[Mapping[str, object]] = ContextVar("log_context", default=MappingProxyType({}))


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Add fields to every record that is logged in the block; those that are None are left out."""
    added = {name: value for name, value in fields.items() if value is not None}
    token = _context.set({**_context.get(), **added})
    try:
        yield
    finally:
        _context.reset(token)


def get_request_id() -> str | None:
    """The id of the request that is being answered, if one is."""
    request_id = _context.get().get("request_id")
    return None if request_id is None else str(request_id)


class TextFormatter(logging.Formatter):
    """Moment, level, logger and message; the fields of the context in brackets."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; an exception follows on lines of its own."""
        fields = " ".join(f"{name}={value}" for name, value in _context.get().items())
        context = f" [{fields}]" if fields else ""
        moment = _format_moment(record)
        return f"{moment} {record.levelname} {record.name}{context} {super().format(record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        document = {
            "timestamp": _format_moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context.get(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


def configure_logging(log_format: LogFormat) -> None:
    """Have this process log to its standard error output, what the server and Celery log included."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers, root.level = [handler], logging.INFO
    # Not uvicorn.access, which `--no-access-log` has silenced.
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    # Lines for each request to a webhook and each check of the database's revision say nothing new.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _format_moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

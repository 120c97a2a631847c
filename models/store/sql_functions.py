"""SQL functions and column types that SQLite and PostgreSQL spell differently."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Float,
    TableValuedAlias,
    TypeDecorator,
    bindparam,
    literal,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC; SQLite, which knows no zones, is handed it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand the database a moment in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} names no time zone; the database would guess one")
        if dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the program an aware moment."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DatabaseNow(FunctionElement[datetime]):
    """The database's own clock, `offset_seconds` from now: one clock for every host that holds leases."""

    name = "database_now"
    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, offset_seconds: float = 0.0) -> None:
        # A parameter, so that a statement is compiled once for every offset.
        super().__init__(literal(float(offset_seconds), Float()))


@compiles(DatabaseNow, "postgresql")
def _now_postgresql(element: DatabaseNow, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp() moves within a transaction; now() would be the moment that it began.
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(DatabaseNow, "sqlite")
def _now_sqlite(element: DatabaseNow, compiler: SQLCompiler, **kw: Any) -> str:
    # SQLAlchemy stores six digits of a second; strftime gives three.
    offset = f"printf('%+.6f seconds', {compiler.process(element.clauses, **kw)})"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {offset})"


class SecondsBetween(FunctionElement[float]):
    """Seconds from the first moment to the second."""

    name = "seconds_between"
    inherit_cache = True
    type = Float()


@compiles(SecondsBetween, "postgresql")
def _seconds_postgresql(element: SecondsBetween, compiler: SQLCompiler, **kw: Any) -> str:
    first, second = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(extract(epoch FROM {second} - {first}) AS DOUBLE PRECISION)"


@compiles(SecondsBetween, "sqlite")
def _seconds_sqlite(element: SecondsBetween, compiler: SQLCompiler, **kw: Any) -> str:
    first, second = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"((julianday({second}) - julianday({first})) * 86400.0)"


class JsonEntries(FunctionElement[Any]):
    """The pairs (key, value) of a JSON object of texts, as rows.

    A path would not do: SQLite compares it with the key as it is written, escapes and all.
    """

    name = "json_entries"
    inherit_cache = True


def make_table(rows: Mapping[str, str]) -> TableValuedAlias:
    """A table of the columns `key` and `value`: one parameter, however many rows there are."""
    return JsonEntries(bindparam(None, dict(rows), type_=JSON)).table_valued("key", "value")


@compiles(JsonEntries, "postgresql")
def _entries_postgresql(element: JsonEntries, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each_text({compiler.process(element.clauses, **kw)})"


@compiles(JsonEntries, "sqlite")
def _entries_sqlite(element: JsonEntries, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"

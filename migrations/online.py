"""What a migration does to large tables while the service goes on.

On PostgreSQL all of these commit what the migration did before. A migration that is interrupted begins again,
so that whatever stands before them must be possible twice.
"""

import sys
from typing import Any

import sqlalchemy as sa
from alembic import op

ROWS_IN_BATCH = 10_000


def create_index(name: str, table: str, columns: list[Any], **options: Any) -> None:
    """Create an index; PostgreSQL lets others write into the table meanwhile."""
    if not _is_postgresql():
        op.create_index(name, table, columns, **options)
        return
    with op.get_context().autocommit_block():
        # It waits for all transactions that are older, however long those take.
        op.execute("SET lock_timeout = 0")
        # An interrupted attempt leaves an index that is not used.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)
        op.execute("SET lock_timeout = 2000")


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column, unless an interrupted attempt has added it."""
    # SQLite rolls an interrupted attempt back, and its ALTER TABLE knows no IF NOT EXISTS.
    op.add_column(table, column, if_not_exists=_is_postgresql() or None)


def create_table(name: str, *items: sa.schema.SchemaItem) -> None:
    """Create a table and commit it, unless an interrupted attempt has created it.

    Its foreign keys lock the tables that they refer to until the commit.
    """
    op.create_table(name, *items, if_not_exists=True)
    if _is_postgresql():
        with op.get_context().autocommit_block():
            pass


def execute_in_batches(statement: str, table: str) -> None:
    """Execute a statement for all rows of a table, a page of their ids at a time.

    Args:
        statement: SQL with `:after` and `:until`, the bounds of a page: `id > :after AND id <= :until`.
            Executed twice for a page it must give the same rows, as with `ON CONFLICT DO NOTHING`.
        table: whose `id`, text, is paged through.
    """
    if not _is_postgresql():
        _execute_pages(statement, table)
        return
    with op.get_context().autocommit_block():
        _execute_pages(statement, table)


def _execute_pages(statement: str, table: str) -> None:
    connection = op.get_bind()
    ids = sa.table(table, sa.column("id", sa.String)).c.id
    after, done = "", 0
    while True:
        page = sa.select(ids).where(ids > after).order_by(ids).limit(ROWS_IN_BATCH).subquery()
        until, rows = connection.execute(
            sa.select(sa.func.max(page.c.id), sa.func.count()).select_from(page)
        ).one()
        if not rows:
            return
        connection.execute(sa.text(statement), {"after": after, "until": until})
        after, done = until, done + rows
        if rows == ROWS_IN_BATCH:
            sys.stderr.write(f"{done:,} rows of {table} copied.\n")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"

"""Looks at the database of the history without changing anything: what `tickertape doctor` says."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sql

from tickertape.history.tables import ERASED, METADATA, SCHEMA, VERSION

if TYPE_CHECKING:
    from tickertape.history.store import History

_TRIED = "~tried"


@dataclass(frozen=True)
class Examined:
    """What was found. `lacks` are tables with a column that this release needs and they have not.

    Without tables, `is_new` is true, and this account may make them. `version` is that of the
    tables, and `known` the latest one that this release knows.
    """

    is_new: bool
    lacks: tuple[str, ...] = ()
    version: int = VERSION
    known: int = VERSION


async def examine(history: "History") -> Examined:
    """Look at the tables, and try a write that is taken back; raises HistoryUnavailable."""
    path = history.file
    # SQLite would make the file.
    if path is not None and not path.exists() and _may_write(path.parent):
        return Examined(is_new=True)
    return await history.taken_back(_examine)


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _examine(connection: sql.Connection) -> Examined:
    inspector = sql.inspect(connection)
    there = {*inspector.get_table_names()} & METADATA.tables.keys()
    if not there:
        if connection.dialect.name != "sqlite":  # where a table that is made cannot be taken back
            METADATA.create_all(connection)
        return Examined(is_new=True)
    lacks = [
        f"{name} ({', '.join(missing)})"
        for name in sorted(there)
        if (missing := _missing(inspector, name))
    ]
    if not lacks:
        connection.execute(sql.insert(ERASED).values(id=_TRIED, erased_ms=0))
    has_version = SCHEMA.name in there
    version = connection.scalar(sql.select(sql.func.max(SCHEMA.c.version))) if has_version else None
    return Examined(is_new=False, lacks=tuple(lacks), version=version or VERSION)


def _missing(inspector: sql.Inspector, name: str) -> list[str]:
    has = {column["name"] for column in inspector.get_columns(name)}
    return sorted({column.name for column in METADATA.tables[name].columns} - has)

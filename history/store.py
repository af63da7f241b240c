"""The database of the history. Every method runs in a thread, and raises HistoryUnavailable.

What is written twice is there once: the key of a row is the id of its request. An erased request is
never written again.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from tickertape.broker.errors import SettingsInvalid
from tickertape.history.deleting import delete_requests, delete_slice
from tickertape.history.opening import HistoryUnavailable
from tickertape.history.rows import Row, Written
from tickertape.history.tables import CONVERSATIONS, ERASED, METADATA, REQUESTS, SCHEMA, VERSION
from tickertape.runtime.setting_addresses import HISTORY_FORMS

T = TypeVar("T")

_CONNECT_LIMIT_S = 3
_STATEMENT_LIMIT_S = 15
_LIST_PAGE = 100
# Each connection would have a database of its own, in memory.
_NO_FILE = {None, "", ":memory:"}
_WRONG = f"TICKERTAPE_HISTORY_URL: {HISTORY_FORMS}"


class History:
    """Raises SettingsInvalid for an address that cannot be one."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sql.make_url(url)
            if parsed.get_backend_name() == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            elif parsed.get_backend_name() != "sqlite" or parsed.database in _NO_FILE:
                raise SettingsInvalid(_WRONG)
            self._engine = sql.create_engine(
                parsed, pool_pre_ping=True, hide_parameters=True, connect_args=_limits(parsed)
            )
        except (ArgumentError, NoSuchModuleError, ValueError):
            # The error may show the password.
            raise SettingsInvalid(_WRONG) from None
        self._is_postgres = parsed.get_backend_name() == "postgresql"
        if not self._is_postgres:
            sql.event.listen(self._engine, "connect", _use_write_ahead_log)
        self._has_tables = False
        self._making = threading.Lock()

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.to_thread(self._engine.dispose)

    async def write(self, rows: Sequence[Written]) -> None:
        """Write requests with their conversations, in one transaction; rows that exist stay."""
        await self._run(lambda connection: self._write(connection, rows))

    async def erase(self, request_ids: Sequence[str]) -> None:
        """Erase requests, and conversations that have none left."""
        await self._run(lambda connection: self._erase(connection, request_ids))

    async def forget(self, principal: str, key: str) -> int:
        """Erase a conversation with all of its requests; returns how many there were."""

        def run(connection: sql.Connection) -> int:
            own = sql.select(REQUESTS.c.id).where(
                REQUESTS.c.principal == principal, REQUESTS.c.conversation_key == key
            )
            ids = list(connection.scalars(own))
            self._erase(connection, ids)
            connection.execute(sql.delete(CONVERSATIONS).where(*_is(principal, key)))
            return len(ids)

        return await self._run(run)

    async def find(self, principal: str, request_id: str) -> Row | None:
        """The row of a request; None without one, or if it is another principal's."""
        own = sql.select(REQUESTS).where(
            REQUESTS.c.id == request_id, REQUESTS.c.principal == principal, _is_kept(REQUESTS)
        )
        return await self._run(lambda connection: _first(connection, own))

    async def conversation(self, principal: str, key: str) -> tuple[Row, list[Row]] | None:
        """The row of a conversation, and those of its requests; None without one."""

        def run(connection: sql.Connection) -> tuple[Row, list[Row]] | None:
            found = _first(
                connection,
                sql.select(CONVERSATIONS).where(*_is(principal, key), _is_kept(CONVERSATIONS)),
            )
            if found is None:
                return None
            own = sql.select(REQUESTS).where(
                REQUESTS.c.principal == principal, REQUESTS.c.conversation_key == key
            )
            ordered = own.order_by(REQUESTS.c.created_ms, REQUESTS.c.id)
            return found, [dict(row) for row in connection.execute(ordered).mappings()]

        return await self._run(run)

    async def listed(self, principal: str, before: tuple[int, str] | None) -> list[tuple[Row, int]]:
        """Some conversations, the latest first, each with the number of its requests.

        `before` is the time and the key of the last one of the page before.
        """
        counted = (
            sql.select(sql.func.count())
            .where(REQUESTS.c.conversation_key == CONVERSATIONS.c.key)
            .correlate(CONVERSATIONS)
            .scalar_subquery()
        )
        own = sql.select(CONVERSATIONS, counted.label("turns")).where(
            CONVERSATIONS.c.principal == principal, _is_kept(CONVERSATIONS)
        )
        place = sql.tuple_(CONVERSATIONS.c.updated_ms, CONVERSATIONS.c.key)
        if before is not None:
            own = own.where(place < sql.tuple_(*before))
        page = own.order_by(CONVERSATIONS.c.updated_ms.desc(), CONVERSATIONS.c.key.desc())

        def run(connection: sql.Connection) -> list[tuple[Row, int]]:
            rows = connection.execute(page.limit(_LIST_PAGE)).mappings()
            return [(dict(row), row["turns"]) for row in rows]

        return await self._run(run)

    async def rename(self, principal: str, key: str, title: str) -> bool:
        """Give a conversation a title that no request made; returns whether there is one."""
        return await self._change(principal, key, {"title": title, "title_of": ""})

    async def retain(self, principal: str, key: str, keep_s: int) -> bool:
        """Keep a conversation so long after its latest request; returns whether there is one."""
        until_ms = CONVERSATIONS.c.updated_ms + 1000 * keep_s
        return await self._change(principal, key, {"expires_ms": until_ms})

    async def _change(self, principal: str, key: str, values: dict[str, Any]) -> bool:
        changed = sql.update(CONVERSATIONS).where(*_is(principal, key)).values(values)
        return await self._run(lambda connection: connection.execute(changed).rowcount > 0)

    async def drop_expired(self, ended_before_ms: int | None = None) -> bool:
        """Delete a slice of what is kept no longer; returns whether there may be more.

        That is what its caller, its tenant or its key wants kept for a time of its own, and with
        `ended_before_ms` each request that ended before. A conversation goes with its last one.
        """
        return await self._run(
            lambda connection: delete_slice(connection, _now_ms(), ended_before_ms)
        )

    async def check(self) -> None:
        """Make the tables that are missing."""
        await self._run(lambda connection: connection.execute(sql.select(1)))

    @property
    def file(self) -> Path | None:
        """The file of SQLite; None for another database."""
        name = self._engine.url.database
        return None if self._is_postgres or name is None else Path(name)

    async def taken_back(self, work: Callable[[sql.Connection], T]) -> T:
        """Run `work` on the tables as they are, and take back what it changes."""

        def run() -> T:
            with self._engine.connect() as connection:
                try:
                    return work(connection)
                finally:
                    connection.rollback()

        return await self._in_thread(run)

    async def _run(self, work: Callable[[sql.Connection], T]) -> T:
        return await self._in_thread(lambda: self._in_transaction(work))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except SQLAlchemyError as error:
            raise HistoryUnavailable(f"The history is away: {_words(error)}.") from None

    def _in_transaction(self, work: Callable[[sql.Connection], T]) -> T:
        with self._making:
            if not self._has_tables:
                self._make_tables()
                self._has_tables = True
        with self._engine.begin() as connection:
            # A later release may change the tables while this process runs.
            _refuse_later_tables(connection)
            return work(connection)

    def _make_tables(self) -> None:
        """Make what is missing, unless a later release has made the tables."""
        if sql.inspect(self._engine).has_table(SCHEMA.name):
            with self._engine.begin() as connection:
                _refuse_later_tables(connection)
        METADATA.create_all(self._engine)
        with self._engine.begin() as connection:
            known = self._insert(SCHEMA).values(version=VERSION)
            connection.execute(known.on_conflict_do_nothing())

    def _insert(self, table: sql.Table) -> Any:
        return (postgresql if self._is_postgres else sqlite).insert(table)

    def _write(self, connection: sql.Connection, rows: Sequence[Written]) -> None:
        ids = [each.request["id"] for each in rows]
        erased = {*connection.scalars(sql.select(ERASED.c.id).where(ERASED.c.id.in_(ids)))}
        left = [each for each in rows if each.request["id"] not in erased]
        if left:
            requests = self._insert(REQUESTS).on_conflict_do_nothing(index_elements=["id"])
            connection.execute(requests, [each.request for each in left])
        for each in left:
            if each.conversation is not None:
                connection.execute(self._upsert(each.conversation))

    def _upsert(self, row: Row) -> Any:
        insert = self._insert(CONVERSATIONS).values(row)
        new = insert.excluded
        # A request that is written again must not replace what a later one has written.
        return insert.on_conflict_do_update(
            index_elements=["key"],
            set_={name: getattr(new, name) for name in ("title", "title_of", "options")}
            | {"updated_ms": new.updated_ms, "expires_ms": new.expires_ms},
            where=new.updated_ms >= CONVERSATIONS.c.updated_ms,
        )

    def _erase(self, connection: sql.Connection, ids: Sequence[str]) -> None:
        if not ids:
            return
        tombs = self._insert(ERASED).on_conflict_do_nothing(index_elements=["id"])
        now_ms = _now_ms()
        connection.execute(tombs, [{"id": each, "erased_ms": now_ms} for each in ids])
        delete_requests(connection, ids)


def _refuse_later_tables(connection: sql.Connection) -> None:
    version = connection.scalar(sql.select(sql.func.max(SCHEMA.c.version)))
    if version is not None and version > VERSION:
        raise HistoryUnavailable(
            f"The tables of the history have version {version}, and this release knows {VERSION}:"
            " run the release that made them."
        )


def _is(principal: str, key: str) -> tuple[sql.ColumnElement[bool], ...]:
    return CONVERSATIONS.c.principal == principal, CONVERSATIONS.c.key == key


def _is_kept(table: sql.Table) -> sql.ColumnElement[bool]:
    return sql.or_(table.c.expires_ms.is_(None), table.c.expires_ms > _now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _first(connection: sql.Connection, query: sql.Select[Any]) -> Row | None:
    found = connection.execute(query).mappings().first()
    return None if found is None else dict(found)


def _limits(url: sql.URL) -> Mapping[str, object]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": _CONNECT_LIMIT_S}
    options = f"-c statement_timeout={1000 * _STATEMENT_LIMIT_S}"
    return {"connect_timeout": _CONNECT_LIMIT_S, "options": options}


def _use_write_ahead_log(connection: Any, _: object) -> None:
    """Let API processes read while the history is written."""
    connection.execute("PRAGMA journal_mode=WAL")


def _words(error: SQLAlchemyError) -> str:
    """The reason without statements, values and addresses."""
    cause = getattr(error, "orig", None) or error
    return type(cause).__name__

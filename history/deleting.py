"""Statements that delete from the history. Each runs in a transaction of its caller."""

from collections.abc import Sequence

import sqlalchemy as sql

from tickertape.history.tables import CONVERSATIONS, ERASED, REQUESTS

# Rows of one transaction that deletes, so that none holds its locks for long.
_SLICE = 500
# Longer than a writer can be late: its lease in Redis is over within seconds.
_ERASED_KEPT_MS = 30 * 86_400_000
_HAS_REQUESTS = sql.exists().where(REQUESTS.c.conversation_key == CONVERSATIONS.c.key)


def delete_slice(connection: sql.Connection, now_ms: int, ended_before_ms: int | None) -> bool:
    """Delete a slice of what is kept no longer; returns whether there may be more."""
    ids = _over(connection, now_ms, ended_before_ms)
    delete_requests(connection, ids)
    empty = sql.select(CONVERSATIONS.c.key).where(
        CONVERSATIONS.c.expires_ms <= now_ms, ~_HAS_REQUESTS
    )
    keys = list(connection.scalars(empty.limit(_SLICE)))
    connection.execute(sql.delete(CONVERSATIONS).where(CONVERSATIONS.c.key.in_(keys)))
    old = sql.select(ERASED.c.id).where(ERASED.c.erased_ms <= now_ms - _ERASED_KEPT_MS)
    tombs = list(connection.scalars(old.limit(_SLICE)))
    connection.execute(sql.delete(ERASED).where(ERASED.c.id.in_(tombs)))
    return _SLICE in (len(ids), len(keys), len(tombs))


def _over(connection: sql.Connection, now_ms: int, ended_before_ms: int | None) -> list[str]:
    """The ids of a slice of the requests that are kept no longer."""
    expired = sql.select(CONVERSATIONS.c.key).where(CONVERSATIONS.c.expires_ms <= now_ms)
    conditions = [REQUESTS.c.expires_ms <= now_ms, REQUESTS.c.conversation_key.in_(expired)]
    if ended_before_ms is not None:
        conditions.append(REQUESTS.c.ended_ms < ended_before_ms)
    ids: dict[str, None] = {}
    # One query for each condition, because each has an index of its own.
    for each in conditions:
        found = sql.select(REQUESTS.c.id).where(each).limit(_SLICE - len(ids))
        ids.update(dict.fromkeys(connection.scalars(found)))
        if len(ids) == _SLICE:
            break
    return [*ids]


def delete_requests(connection: sql.Connection, ids: Sequence[str]) -> None:
    """Delete requests, titles that were made of them, and conversations that have none left."""
    of_these = sql.select(REQUESTS.c.conversation_key).where(REQUESTS.c.id.in_(ids))
    keys = list(connection.scalars(of_these.distinct()))
    connection.execute(sql.delete(REQUESTS).where(REQUESTS.c.id.in_(ids)))
    untitled = sql.update(CONVERSATIONS).where(CONVERSATIONS.c.title_of.in_(ids))
    connection.execute(untitled.values(title=None, title_of=""))
    connection.execute(
        sql.delete(CONVERSATIONS).where(CONVERSATIONS.c.key.in_(keys), ~_HAS_REQUESTS)
    )

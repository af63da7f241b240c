"""Reads the rows of a conversation in replies of limited size, and its turns without messages."""

from collections.abc import AsyncIterator
from typing import Literal

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts
from tickertape.broker.turns import Row, Turn, answered_ids, read_turns, without_messages

PAGE_BYTES = 4 * 1024 * 1024
# So many rows keep Redis busy for about half a millisecond.
_MOST_ROWS = 200


class TurnRows:
    """Reads the rows of conversations. Raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections) -> None:
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def pages(
        self,
        partition: int,
        key: str,
        command: Literal["XRANGE", "XREVRANGE"] = "XRANGE",
        page_bytes: int = PAGE_BYTES,
        *,
        is_short: bool = False,
    ) -> AsyncIterator[list[Row]]:
        """All rows, the oldest first, or with XREVRANGE the newest first.

        A page has at most `page_bytes` and one row more. With `is_short`, rows have the id of their
        request and no more.
        """
        first = "-" if command == "XRANGE" else "+"
        while True:
            reply = await self._scripts.call(
                "rows",
                [self._keys.turns(partition, key)],
                command=command,
                first=first,
                most_bytes=page_bytes,
                most_rows=_MOST_ROWS,
                is_short=int(is_short),
            )
            page = [
                (row_id, dict(zip(fields[::2], fields[1::2], strict=True)))
                for row_id, fields in reply
            ]
            if not page:
                return
            yield page
            size = sum(len(value) for _, row in page for value in row.values())
            if len(page) < _MOST_ROWS and size < page_bytes and not is_short:
                return
            first = f"({page[-1][0].decode()}"

    async def outlines(self, partition: int, key: str) -> list[Turn]:
        """All turns without their messages, so that a conversation of any size takes little memory.

        Questions are not even decoded.
        """
        outlines: dict[str, Turn] = {}
        questions: dict[str, Row] = {}
        async for page in self.pages(partition, key):
            open_rows = [questions[id_] for id_ in answered_ids(page) if id_ in questions]
            asked = {row[b"id"].decode(): len(row[b"asked"]) for _, row in page if b"asked" in row}
            short = list(map(without_messages, page))
            for turn in read_turns([*open_rows, *short]):
                request_id = turn.request_id
                earlier = outlines.get(request_id)
                outlines[request_id] = turn.outline(earlier, asked.get(request_id, 0))
            questions |= {row[1][b"id"].decode(): row for row in short if b"asked" in row[1]}
        return sorted(outlines.values(), key=lambda turn: turn.row)

    async def own(self, partition: int, key: str, request_id: str) -> list[Row]:
        """The rows of one turn, none if it was erased."""
        return [
            (row_id, row)
            async for page in self.pages(partition, key)
            for row_id, row in page
            if row[b"id"].decode() == request_id and b"erased" not in row
        ]

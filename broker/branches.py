"""Pure: the tree that the turns of a conversation form, and the path of a turn in this tree.

Each turn follows one other turn, its parent, or begins the conversation. A turn without a link to a
parent follows the turn before it, so a conversation without such links is one line.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from tickertape.broker.codec import Cursor


class ParentLinks(Protocol):
    """The links of a turn that decide which turn is its parent."""

    @property
    def parent(self) -> str | None:
        """The request id of the parent, empty for the start, None if the caller named none."""

    @property
    def replaces(self) -> Cursor | None:
        """The row of the first turn that the path no longer contains."""


class Node(Protocol):
    """A turn, as far as the tree needs it."""

    @property
    def request_id(self) -> str:
        """The id of the turn's request."""

    @property
    def row(self) -> Cursor:
        """The id of the question's row."""

    @property
    def links(self) -> ParentLinks:
        """The links that were stored with the question."""

    @property
    def is_erased(self) -> bool:
        """Whether only the place of the turn in the tree is left."""


AnyNode = TypeVar("AnyNode", bound=Node)


def parents_of(nodes: Iterable[Node]) -> dict[str, str | None]:
    """The parent of each turn, None for the start; `nodes` are in the order of their rows.

    Parents may be erased turns. A parent that is not in `nodes`, because the conversation has
    dropped its oldest turns, counts as the start.
    """
    parents: dict[str, str | None] = {}
    rows: dict[str, Cursor] = {}
    latest: str | None = None
    for node in nodes:
        parent = latest
        replaces = node.links.replaces
        if node.links.parent is not None:
            parent = node.links.parent if node.links.parent in parents else None
        elif replaces is not None:
            # Rows are compared by id and not searched, because the named row may be missing.
            while parent is not None and rows[parent] >= replaces:
                parent = parents[parent]
        latest = node.request_id
        parents[latest], rows[latest] = parent, node.row
    return parents


def shown_parents(nodes: Sequence[Node]) -> dict[str, str | None]:
    """The parent of each turn as clients see it: the nearest turn before it that is not erased."""
    parents = parents_of(nodes)
    erased = {node.request_id for node in nodes if node.is_erased}
    shown: dict[str, str | None] = {}
    for node in nodes:
        parent = parents[node.request_id]
        # Parents come first, so the parent of an erased parent is known.
        shown[node.request_id] = shown[parent] if parent in erased and parent else parent
    return shown


def path_of(nodes: Sequence[AnyNode], request_id: str) -> list[AnyNode]:
    """The turns from the start to this turn, itself included, without erased ones.

    For an unknown request, the path of the latest turn.
    """
    parents = parents_of(nodes)
    latest = nodes[-1].request_id if nodes else None
    on_path = set(_upward(parents, request_id if request_id in parents else latest))
    return [node for node in nodes if node.request_id in on_path and not node.is_erased]


def drop_replaced(nodes: Iterable[AnyNode]) -> list[AnyNode]:
    """The turns of all branches that no later turn replaced, without erased ones."""
    turns = list(nodes)
    parents = parents_of(turns)
    rows = {turn.request_id: turn.row for turn in turns}
    replaced: set[str] = set()
    latest: str | None = None
    for turn in turns:
        replaces = turn.links.replaces
        if replaces is not None:
            replaced.update(id_ for id_ in _upward(parents, latest) if rows[id_] >= replaces)
        latest = turn.request_id
    return [turn for turn in turns if turn.request_id not in replaced and not turn.is_erased]


def _upward(parents: dict[str, str | None], request_id: str | None) -> Iterator[str]:
    while request_id is not None:
        yield request_id
        request_id = parents[request_id]

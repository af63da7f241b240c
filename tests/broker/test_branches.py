"""The tree of a conversation's turns, and the path of each turn."""

from hypothesis import given
from hypothesis import strategies as st

from tickertape.broker.branches import drop_replaced, parents_of, path_of, shown_parents
from tickertape.broker.codec import Cursor
from tickertape.broker.turns import Links, Turn, exceed_memory, remember

# For each turn: the number of its parent among the turns before it, -1 for the start, None without.
trees = st.lists(st.none() | st.integers(-1, 7), max_size=9).map(
    lambda parents: [
        parent if parent is None or parent < number else number - 1
        for number, parent in enumerate(parents)
    ]
)


def tree(parents: list[int | None], erased: frozenset[int] = frozenset()) -> list[Turn]:
    turns = []
    for number, parent in enumerate(parents):
        name = None if parent is None else "" if parent < 0 else f"r{parent}"
        asked = [] if number in erased else [{"role": "user", "content": f"q{number}"}]
        turns.append(
            Turn(
                f"r{number}",
                asked,
                None if number in erased else f"a{number}",
                links=Links(parent=name),
                row=Cursor(number + 1, 0),
                is_erased=number in erased,
            )
        )
    return turns


def model_path(parents: list[int | None], number: int) -> list[int]:
    """What the path should be: the numbers from the start to this turn."""
    parent = parents[number]
    if parent is None:
        parent = number - 1
    return [*(model_path(parents, parent) if parent >= 0 else []), number]


@given(parents=trees, data=st.data())
def test_the_path_of_a_turn_is_its_chain_of_parents(
    parents: list[int | None], data: st.DataObject
) -> None:
    erased = data.draw(st.frozensets(st.integers(0, 8)))
    turns = tree(parents, erased)
    shown = shown_parents(turns)
    for number, turn in enumerate(turns):
        expected = [f"r{n}" for n in model_path(parents, number) if n not in erased]
        assert [one.request_id for one in path_of(turns, turn.request_id)] == expected
        before = [id_ for id_ in expected if id_ != turn.request_id]
        assert shown[turn.request_id] == (before[-1] if before else None)


@given(parents=trees)
def test_the_context_of_a_branch_contains_no_sibling(parents: list[int | None]) -> None:
    turns = tree(parents)
    for number, turn in enumerate(turns):
        given_texts = [messages[0]["content"] for messages in remember(turns, turn.request_id)]
        assert given_texts == [f"q{n}" for n in model_path(parents, number)[:-1]]


@given(parents=trees, most_bytes=st.integers(0, 200))
def test_only_rows_on_the_path_count_against_the_memory(
    parents: list[int | None], most_bytes: int
) -> None:
    rows = [
        (
            str(turn.row).encode(),
            {b"id": turn.request_id.encode(), b"asked": b"x" * 10, b"links": turn.links.encode()},
        )
        for turn in tree(parents)
    ]
    sizes = [sum(map(len, fields.values())) for _, fields in rows]
    for number in range(len(rows)):
        before = sum(sizes[n] for n in model_path(parents, number)[:-1])
        exceeds = exceed_memory(rows[::-1], f"r{number}", most_bytes)
        assert exceeds == (before > most_bytes)


def test_a_parent_that_is_no_longer_remembered_counts_as_the_start() -> None:
    turns = tree([None, 0, 0])[1:]
    assert parents_of(turns) == {"r1": None, "r2": None}


def test_a_replacement_drops_turns_of_its_own_branch_only() -> None:
    turns = tree([None, 0, 0, 2])
    edit = Turn("r4", [], links=Links(replaces=turns[2].row), row=Cursor(9, 0))
    kept = drop_replaced([*turns, edit])
    assert [turn.request_id for turn in kept] == ["r0", "r1", "r4"]
    assert [turn.request_id for turn in path_of([*turns, edit], "r4")] == ["r0", "r4"]

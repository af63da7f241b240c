"""Pauses between connections: only one that lasted makes the next pause short again."""

from tickertape.broker.pauses import Pauses


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_server_that_is_not_there_is_tried_less_and_less_often_up_to_a_bound() -> None:
    pauses = Pauses(jitter=0)
    assert [pauses.next_s() for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_connections_that_end_as_soon_as_they_are_open_are_no_better() -> None:
    pauses = Pauses(jitter=0)
    lengths: list[float] = []
    for _ in range(4):
        pauses.opened()
        lengths.append(pauses.next_s())
    assert lengths == [0.05, 0.1, 0.2, 0.4]


def test_after_a_connection_that_lasted_the_first_pause_is_short_again() -> None:
    clock = Clock()
    pauses = Pauses(clock, jitter=0)
    for _ in range(5):
        pauses.next_s()
    pauses.opened()
    clock.now_s += 1.5
    assert pauses.next_s() == 0.05
    clock.now_s += 1.5
    assert pauses.next_s() == 0.1, "nothing was opened since"

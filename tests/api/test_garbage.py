"""The garbage collector beside a flood: what one collection visits."""

import gc
from collections.abc import Iterator

import pytest

from tickertape.runtime.garbage import tune_garbage_collector

# Visiting so many takes some 10 ms.
MOST = 25_000


@pytest.fixture
def tuned() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    tune_garbage_collector()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@pytest.mark.usefixtures("tuned")
def test_no_collection_of_new_objects_visits_so_many_that_streams_would_wait() -> None:
    visited: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            young = range(info["generation"] + 1)
            visited.append(sum(len(gc.get_objects(generation)) for generation in young))

    gc.callbacks.append(look)
    try:
        kept = [[number] for number in range(120_000)]
    finally:
        gc.callbacks.remove(look)
    assert len(kept) == 120_000
    assert len(visited) > 10
    assert max(visited) < MOST

"""A queue whose answers are scripted, and patience that takes no time."""

import pytest

from tests.support.scripted import ScriptedQueue


@pytest.fixture
def queue() -> ScriptedQueue:
    return ScriptedQueue()


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is repeated while Redis is away is repeated at once."""
    monkeypatch.setattr("tickertape.worker.tools._UNAVAILABLE_PAUSE_S", 0)

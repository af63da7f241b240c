"""The fixture of the tests with a scripted queue."""

import pytest

from tests.support.scripted import ScriptedQueue


@pytest.fixture
def queue() -> ScriptedQueue:
    return ScriptedQueue()

"""Surroundings for tests of commands."""

from pathlib import Path

import pytest

from tickertape.runtime.environment import variable_names


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test: neither variables nor a `.env` file."""
    monkeypatch.chdir(tmp_path)
    for name in [*variable_names(), "TICKERTAPE_API_KEY"]:
        monkeypatch.delenv(name, raising=False)

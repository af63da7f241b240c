"""Files of secrets are replaced while a process runs: which contents count, and which do not."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.runtime.conditions import Code
from tickertape.runtime.environment import load_settings
from tickertape.runtime.secret_watch import SecretWatch

OLD, NEW = "sk-of-yesterday", "sk-of-today"


@dataclass
class Watched:
    """A secret in a file, as a process uses it. `fault` is why it cannot use the next one."""

    path: Path
    watch: SecretWatch
    used: list[str] = field(default_factory=list)
    tries: int = 0
    fault: Exception | None = None

    async def use(self, secret: str) -> None:
        """Note a new secret."""
        self.tries += 1
        if self.fault is not None:
            raise self.fault
        self.used.append(secret)

    async def looks(self, times: int = 2) -> list[dict[str, object]]:
        """Let some seconds pass; returns what was logged."""
        with capture_logs() as logged:
            for _ in range(times):
                await self.watch.look()
        return [dict(line) for line in logged]


@pytest.fixture
async def watched(bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    path = tmp_path / "upstream-key"
    path.write_text(f"{OLD}\n", "utf-8")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    watched = Watched(path, SecretWatch(load_settings()))
    watched.watch.on_change("OPENAI_API_KEY", watched.use)
    watched.watch.on_change("REDIS_URL", watched.use)  # has no file
    assert await watched.looks() == []
    assert watched.used == []
    return watched


def replaced(path: Path, text: str) -> None:
    """Replace a file as Kubernetes does: the new file takes the place of the old one."""
    other = path.with_suffix(".new")
    other.write_text(text, "utf-8")
    other.replace(path)


async def test_a_file_that_is_replaced_hands_its_secret_on_once(watched: Watched) -> None:
    replaced(watched.path, NEW)
    logged = await watched.looks(5)
    assert watched.used == [NEW]
    assert [(line["event"], line["variable"]) for line in logged] == [
        ("a secret was replaced", "OPENAI_API_KEY")
    ]
    assert NEW not in str(logged)


async def test_a_file_that_is_being_written_is_not_read(watched: Watched) -> None:
    watched.path.write_text(NEW[:4], "utf-8")
    assert await watched.looks(1) == []
    watched.path.write_text(f"{NEW}\n", "utf-8")
    await watched.looks()
    assert watched.used == [NEW]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (NEW[:4].encode(), "the file ends in the middle of its line: end the line"),
        (b"\xff\xfe\n", "the file is not UTF-8 text"),
        (None, "the file cannot be read: No such file or directory"),
    ],
)
async def test_a_broken_file_keeps_the_secret_and_is_logged_once(
    watched: Watched, content: bytes | None, reason: str
) -> None:
    if content is None:
        watched.path.unlink()
    else:
        watched.path.write_bytes(content)
    logged = await watched.looks(5)
    assert watched.used == []
    assert [(line["event"], line["reason"]) for line in logged] == [
        ("a secret was not replaced", reason)
    ]
    (condition,) = watched.watch.conditions()
    assert condition.code == Code.SECRET_REFUSED
    assert "OPENAI_API_KEY" in condition.words
    watched.path.write_text(f"{NEW}\n", "utf-8")
    await watched.looks()
    assert watched.used == [NEW]
    assert watched.watch.conditions() == []


async def test_the_old_file_in_its_place_again_ends_the_condition(watched: Watched) -> None:
    beside = watched.path.with_suffix(".old")
    watched.path.rename(beside)
    await watched.looks()
    assert watched.watch.conditions()
    beside.rename(watched.path)
    await watched.looks()
    assert watched.watch.conditions() == []


def test_a_file_that_another_part_reads_is_named_in_the_condition(watched: Watched) -> None:
    watched.watch.note("TICKERTAPE_API_KEYS", lambda: True)
    assert "TICKERTAPE_API_KEYS" in watched.watch.conditions()[0].words


@pytest.mark.parametrize("fault", [SettingsInvalid("refused"), Unavailable("refused")])
async def test_a_secret_that_cannot_be_used_yet_is_tried_again_now_and_then_and_logged_once(
    watched: Watched, fault: Exception
) -> None:
    watched.fault = fault
    replaced(watched.path, NEW)
    logged = await watched.looks(60)
    assert [line["reason"] for line in logged] == ["refused"]
    # The pauses between the tries are 1, 3, 7 and then 15 looks.
    assert watched.tries == 6
    watched.fault = None
    await watched.looks(16)
    assert watched.used == [NEW]


async def test_a_file_that_changes_after_a_refusal_is_tried_at_once(watched: Watched) -> None:
    watched.fault = SettingsInvalid("refused")
    replaced(watched.path, f"{NEW} with a typing error")
    await watched.looks(30)
    watched.fault = None
    replaced(watched.path, NEW)
    await watched.looks(2)
    assert watched.used == [NEW]


async def test_a_file_that_is_touched_or_gets_its_old_secret_back_changes_nothing(
    watched: Watched,
) -> None:
    os.utime(watched.path)
    replaced(watched.path, f"  {OLD}  \n")
    assert await watched.looks(3) == []
    assert watched.used == []

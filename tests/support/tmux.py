"""A program in a real terminal, whose screen a test reads as a person would."""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.wait import wait_until


class Tmux:
    """A terminal of its own tmux server, without a status line. Skips the test without tmux."""

    def __init__(self, directory: Path, *, columns: int = 90, lines: int = 24) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed")
        self._socket = directory / "tmux"
        self._size = ("-x", str(columns), "-y", str(lines))

    async def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run a program. The terminal stays open after its end, and shows its exit code."""
        config = (
            "set -g status off ; set -g remain-on-exit on ; set -g default-terminal tmux-256color"
        )
        (self._socket.parent / "tmux.conf").write_text(config.replace(" ; ", "\n"))
        config_path = str(self._socket.parent / "tmux.conf")
        await self._run(
            "-f", config_path, "new-session", "-d", *self._size, *argv, env=dict(environment)
        )

    async def press(self, *keys: str) -> None:
        """Press keys, each by tmux's name for it, such as `Enter` or `C-c`."""
        await self._run("send-keys", *keys)

    async def type(self, text: str) -> None:
        """Type a text without its Enter."""
        await self._run("send-keys", "-l", text)

    async def screen(self) -> str:
        """What the screen shows now, without empty lines at its end."""
        return (await self._run("capture-pane", "-p")).rstrip()

    async def shows(self, *texts: str) -> str:
        """Wait until the screen shows all of the texts, and return the screen."""
        shown = ""

        async def does() -> bool:
            nonlocal shown
            shown = await self.screen()
            return all(text in shown for text in texts)

        try:
            await wait_until(does, timeout_s=20, description=f"the terminal shows {texts}")
        except BaseException:
            print(shown)
            raise
        return shown

    async def prompts(self, label: str = "> ") -> str:
        """Wait until the last line is an empty prompt, and return the screen."""
        shown = ""

        async def does() -> bool:
            nonlocal shown
            shown = await self.screen()
            return shown.endswith(f"\n{label.rstrip()}")

        await wait_until(does, timeout_s=20, description="the terminal shows the prompt")
        return shown

    async def exit_code(self) -> int:
        """Wait until the program has ended."""
        status = ""

        async def has_ended() -> bool:
            nonlocal status
            told = await self._run(
                "display-message", "-p", "#{pid} #{pane_dead}:#{pane_dead_status}"
            )
            server, _, rest = told.strip().partition(" ")
            is_dead, _, status = rest.partition(":")
            if is_dead == "1" and status == "":
                # tmux 3.3 can miss the end of a program whose terminal is closed at that moment.
                os.kill(int(server), signal.SIGCHLD)
            return status != ""

        await wait_until(has_ended, timeout_s=20, description="the program ends")
        return int(status)

    async def stop(self) -> None:
        """End the terminal and its program."""
        await self._run("kill-server")

    async def _run(self, *command: str, env: dict[str, str] | None = None) -> str:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "-S",
            str(self._socket),
            *command,
            env=env or dict(os.environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode("utf-8", "replace")

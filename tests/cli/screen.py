"""A terminal, a pipe or a file that a test can read."""

import io

from tickertape.cli.chat.terminal import Terminal


class Screen:
    """`terminal` writes to it."""

    def __init__(
        self, *, types: bool = False, explains: bool = False, holds_answer: bool = False
    ) -> None:
        self._out = io.BytesIO()
        self._err = io.StringIO()
        self.terminal = Terminal(
            self._out, self._err, types=types, explains=explains, holds_answer=holds_answer
        )

    @property
    def out(self) -> str:
        return self._out.getvalue().decode()

    @property
    def err(self) -> str:
        return self._err.getvalue()

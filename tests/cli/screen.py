"""A terminal, a pipe or a file that a test can read."""

import io

from tickertape.cli.chat.terminal import Terminal


class Screen:
    """Collects the output of its `terminal`."""

    def __init__(
        self, *, out_is_tty: bool = False, err_is_tty: bool = False, buffers_answer: bool = False
    ) -> None:
        self._out = io.BytesIO()
        self._err = io.StringIO()
        self.terminal = Terminal(
            self._out,
            self._err,
            out_is_tty=out_is_tty,
            err_is_tty=err_is_tty,
            buffers_answer=buffers_answer,
        )

    @property
    def out(self) -> str:
        return self._out.getvalue().decode()

    @property
    def err(self) -> str:
        return self._err.getvalue()

"""An event loop whose clock jumps: a wait that nothing else can end is over at once."""

import asyncio
import selectors


class _JumpingSelector(selectors.SelectSelector):
    """Adds the requested wait to `jumped_s`, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "nothing is left that could end this wait"
            self.jumped_s += max(0.0, timeout)
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """For code that waits only on clocks, and on no thread, process or other machine."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The time, plus all skipped waits."""
        return super().time() + self._jumping.jumped_s

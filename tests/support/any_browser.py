"""What a test may do in Chromium and in Firefox alike."""

from pathlib import Path
from typing import Any, Protocol


class AnyPage(Protocol):
    """A page in a separate profile: to the server, another page is another browser."""

    problems: list[str]

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression (a promise is awaited); raises what it throws."""

    async def wait_for(
        self, expression: str, *, description: str = "", timeout_s: float = 10
    ) -> Any:
        """`evaluate` until the value is true."""

    async def go(self, url: str) -> None:
        """Load a page and wait until it and its modules have loaded."""

    async def reload(self) -> None:
        """Reload the page, as F5 does."""

    async def type(self, text: str) -> None:
        """Type into the focused element."""

    async def press(self, key: str, code: int, *, shift: bool = False, ctrl: bool = False) -> None:
        """Press and release a key, as `press("Enter", 13)`."""

    async def wheel(self, x: int, y: int, down: int) -> None:
        """Turn the wheel over a point of the window; a negative number of pixels scrolls up."""

    async def screenshot(self, path: Path) -> None:
        """Write what the page shows as a PNG."""


class AnyBrowser(Protocol):
    """A connection to a running browser."""

    async def open(self, url: str, *, width: int = 1100, height: int = 800) -> AnyPage:
        """A new page with a separate window and storage."""

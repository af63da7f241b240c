"""A headless Chromium, driven over its DevTools protocol: open a page, type, evaluate, inspect.

No driver package: a test page needs a few of the protocol's commands, and aiohttp speaks WebSocket.
"""

import asyncio
import base64
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.support.browser_process import running_browser
from tests.support.browser_socket import BrowserSocket, Message, Navigated, open_socket
from tests.support.wait import wait_until, wait_until_sync

_FLAGS = (
    "--headless",
    "--no-sandbox",  # root has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",  # small in containers
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)
_START_TIMEOUT_S = 30


def find_chromium() -> str | None:
    """The path of Chromium; None without one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def running_chromium(executable: str) -> Iterator[str]:
    """Start Chromium with an empty profile; yields the address for `connect`."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        running_browser([executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]),
    ):
        yield _address(Path(profile) / "DevToolsActivePort")


def _address(port_file: Path) -> str:
    def lines() -> list[str]:
        return port_file.read_text().split() if port_file.exists() else []

    wait_until_sync(
        lambda: len(lines()) == 2,
        timeout_s=_START_TIMEOUT_S,
        description="Chromium to write its DevTools port",
    )
    port, path = lines()
    return f"ws://127.0.0.1:{port}{path}"


class Page:
    """A page. Those of one profile are tabs of one browser; those of others are other browsers."""

    def __init__(
        self, browser: "Browser", session_id: str, *, profile_id: str, target_id: str
    ) -> None:
        self._browser = browser
        self._session_id = session_id
        self.profile_id = profile_id
        self._target_id = target_id
        self.problems: list[str] = []

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol to this page."""
        return await self._browser.command(method, self._session_id, **params)

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression (a promise is awaited); raises what it throws."""
        answer = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", details).get("description", details))
        return answer["result"].get("value")

    async def wait_for(
        self, expression: str, *, description: str = "", timeout_s: float = 10
    ) -> Any:
        """`evaluate` until the value is true."""

        async def look() -> Any:
            with contextlib.suppress(Navigated):
                return await self.evaluate(expression)

        return await wait_until(look, timeout_s=timeout_s, description=description or expression)

    async def go(self, url: str) -> None:
        """Load a page and wait until it and its modules have loaded."""
        await self.command("Page.navigate", url=url)
        await self._loaded("location.href !== 'about:blank'", description=url)

    async def close(self) -> None:
        """Close the page, as a user does."""
        self._browser.forget(self._session_id)
        await self._browser.command("Target.closeTarget", targetId=self._target_id)

    async def crash(self) -> None:
        """Kill the process of the page."""
        self._browser.forget(self._session_id)
        # A page that has crashed may not reply.
        with contextlib.suppress(TimeoutError, AssertionError):
            async with asyncio.timeout(1):
                await self.command("Page.crash")

    async def reload(self) -> None:
        """Reload the page, as F5 does."""
        await self.evaluate("window.isOld = true")
        await self.command("Page.reload")
        await self._loaded("!window.isOld", description="the page to reload")

    async def _loaded(self, condition: str, *, description: str) -> None:
        async def is_loaded() -> bool:
            try:
                return bool(await self.evaluate(f"{condition} && {_LOADED}"))
            except Navigated:  # a page that is just being replaced answers nothing
                return False

        await wait_until(is_loaded, timeout_s=20, description=description)

    async def type(self, text: str) -> None:
        """Type into the focused element."""
        await self.command("Input.insertText", text=text)

    async def press(self, key: str, code: int, *, shift: bool = False, ctrl: bool = False) -> None:
        """Press and release a key, as `press("Enter", 13)`."""
        text = "\r" if key == "Enter" else ""
        common = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": code,
            "modifiers": 8 * shift + 2 * ctrl,
        }
        await self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    async def wheel(self, x: int, y: int, down: int) -> None:
        """Turn the wheel over a point of the window; a negative number of pixels scrolls up."""
        await self.command(
            "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down
        )

    async def screenshot(self, path: Path) -> None:
        """Write what the page shows as a PNG."""
        answer = await self.command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def take(self, method: str, params: dict[str, Any]) -> None:
        """Handle an event of the protocol: exceptions and refused content become `problems`."""
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        if method == "Log.entryAdded" and not _is_of_the_network(params["entry"]):
            self.problems.append(f"{params['entry']['level']}: {params['entry']['text']}")


_LOADED = "document.readyState === 'complete'"


def _is_of_the_network(entry: dict[str, Any]) -> bool:
    """Whether an entry of the console reports a network error, which tests cause on purpose.

    Chromium reports so that a page was left while its SharedWorker loaded. A worker that does not
    start has its own test.
    """
    return entry["source"] == "network" or bool(entry["text"] == "Failed to fetch a worker script.")


class Browser:
    """A connection to a running Chromium."""

    def __init__(self, socket: BrowserSocket) -> None:
        self._socket = socket
        self._pages: dict[str, Page] = {}

    @property
    def pages(self) -> list[Page]:
        """All opened pages."""
        return list(self._pages.values())

    async def open(
        self,
        url: str,
        *,
        width: int = 1100,
        height: int = 800,
        dark: bool = False,
        beside: Page | None = None,
    ) -> Page:
        """A new page with a separate window; a narrow page emulates a phone.

        It has a storage of its own, or that of the page that it is opened `beside`.
        """
        if beside is None:
            context = await self.command("Target.createBrowserContext", disposeOnDetach=True)
            profile_id = context["browserContextId"]
        else:
            profile_id = beside.profile_id
        target = await self.command(
            "Target.createTarget",
            url="about:blank",
            newWindow=True,
            browserContextId=profile_id,
        )
        session = await self.command(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = self._pages[session["sessionId"]] = Page(
            self, session["sessionId"], profile_id=profile_id, target_id=target["targetId"]
        )
        for domain in ("Page", "Runtime", "Log"):
            await page.command(f"{domain}.enable")
        phone = width < 500
        await page.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1 + phone,
            mobile=phone,
        )
        await page.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.command("Emulation.setEmulatedMedia", features=[scheme])
        await page.go(url)
        return page

    async def command(self, method: str, session_id: str = "", **params: Any) -> dict[str, Any]:
        """Send a command of the protocol; raises AssertionError if Chromium refuses it."""
        session = {"sessionId": session_id} if session_id else {}
        return await self._socket.command(method, params, **session)

    def take(self, event: Message) -> None:
        """Give an event to its page."""
        if page := self._pages.get(event.get("sessionId", "")):
            page.take(event["method"], event["params"])

    def forget(self, session_id: str) -> None:
        """Leave a page out of `pages`."""
        del self._pages[session_id]


@contextlib.asynccontextmanager
async def connect(address: str) -> AsyncIterator[Browser]:
    """A browser at the address of `running_chromium`; its pages close with it."""
    async with open_socket(address) as socket:
        browser = Browser(socket)
        reading = asyncio.create_task(socket.read(browser.take), name="chromium")
        try:
            yield browser
        finally:
            await socket.close()
            await reading

"""A headless Firefox, driven over WebDriver BiDi: open a page, type, evaluate, inspect."""

import asyncio
import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.support.browser_process import running_browser
from tests.support.browser_socket import BrowserSocket, Message, open_socket
from tests.support.wait import wait_until, wait_until_sync

_FLAGS = ("--headless", "--no-remote", "--remote-debugging-port=0")
_START_TIMEOUT_S = 60
# A session of BiDi sets what all automation needs. These keep the browser off the network.
_PREFERENCES = {
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.newtabpage.enabled": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "layout.css.prefers-color-scheme.content-override": 1,  # light
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#none",
}
# The keys of the WebDriver standard that have no character.
_KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue006",
    "Shift": "\ue008",
    "Control": "\ue009",
    "Escape": "\ue00c",
    "PageUp": "\ue00e",
    "PageDown": "\ue00f",
    "End": "\ue010",
    "Home": "\ue011",
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
}


def find_firefox() -> str | None:
    """The path of Firefox; None without one."""
    return shutil.which("firefox-esr") or shutil.which("firefox")


@contextlib.contextmanager
def running_firefox(executable: str) -> Iterator[str]:
    """Start Firefox with an empty profile; yields the address for `connect_firefox`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in _PREFERENCES.items()
        ]
        (Path(profile) / "user.js").write_text("".join(lines))
        with running_browser([executable, *_FLAGS, "--profile", profile, "about:blank"]):
            yield _address(Path(profile) / "WebDriverBiDiServer.json")


def _address(port_file: Path) -> str:
    def written() -> str:
        return port_file.read_text() if port_file.exists() else ""

    wait_until_sync(
        lambda: written().rstrip().endswith("}"),
        timeout_s=_START_TIMEOUT_S,
        description="Firefox to write its port",
    )
    server = json.loads(written())
    return f"ws://{server['ws_host']}:{server['ws_port']}/session"


class FirefoxPage:
    """A page. Those of one container are tabs of one browser, those of two are two browsers."""

    def __init__(self, socket: BrowserSocket, context: str, *, container: str) -> None:
        self._socket = socket
        self._context = context
        self.container = container
        self.problems: list[str] = []

    async def command(self, method: str, **params: Any) -> Message:
        """Send a command of the protocol to this page."""
        return await self._socket.command(method, {"context": self._context, **params})

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression (a promise is awaited); raises what it throws."""
        answer = await self._socket.command(
            "script.evaluate",
            {
                "expression": expression,
                "target": {"context": self._context},
                "awaitPromise": True,
                "serializationOptions": {"maxObjectDepth": None, "maxDomDepth": 0},
            },
        )
        if answer["type"] == "exception":
            raise AssertionError(answer["exceptionDetails"]["text"])
        return _value(answer["result"])

    async def wait_for(
        self, expression: str, *, description: str = "", timeout_s: float = 10
    ) -> Any:
        """`evaluate` until the value is true."""
        return await wait_until(
            lambda: self.evaluate(expression),
            timeout_s=timeout_s,
            description=description or expression,
        )

    async def go(self, url: str) -> None:
        """Load a page and wait until it and its modules have loaded."""
        await self.command("browsingContext.navigate", url=url, wait="complete")

    async def reload(self) -> None:
        """Reload the page, as F5 does."""
        await self.command("browsingContext.reload", wait="complete")

    async def type(self, text: str) -> None:
        """Type into the focused element."""
        await self._act("key", [step for character in text for step in _pressed(character)])

    async def press(self, key: str, code: int, *, shift: bool = False, ctrl: bool = False) -> None:
        """Press and release a key, as `press("Enter", 13)`; BiDi needs no code."""
        held = [_KEYS["Shift"]] * shift + [_KEYS["Control"]] * ctrl
        await self._act(
            "key",
            [
                *({"type": "keyDown", "value": value} for value in held),
                *_pressed(_KEYS.get(key, key)),
                *({"type": "keyUp", "value": value} for value in reversed(held)),
            ],
        )

    async def wheel(self, x: int, y: int, down: int) -> None:
        """Turn the wheel over a point of the window; a negative number of pixels scrolls up."""
        await self._act("wheel", [{"type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": down}])

    async def _act(self, device: str, actions: list[Message]) -> None:
        # Only the active window has the focus.
        await self.command("browsingContext.activate")
        await self.command(
            "input.performActions", actions=[{"type": device, "id": device, "actions": actions}]
        )

    async def screenshot(self, path: Path) -> None:
        """Write what the page shows as a PNG."""
        answer = await self.command("browsingContext.captureScreenshot")
        path.write_bytes(base64.b64decode(answer["data"]))


def _pressed(value: str) -> tuple[Message, Message]:
    return {"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}


def _value(remote: Message) -> Any:
    """The JSON value of a value as BiDi serializes it; None for what JSON does not have."""
    value = remote.get("value")
    match remote["type"]:
        case "array":
            return [_value(item) for item in value or []]
        case "object":
            return {key: _value(item) for key, item in value or []}
        case "string" | "number" | "boolean":
            return value
    return None


class Firefox:
    """A session with a running Firefox."""

    def __init__(self, socket: BrowserSocket) -> None:
        self._socket = socket
        self._pages: dict[str, FirefoxPage] = {}
        self._containers: list[str] = []

    @property
    def pages(self) -> list[FirefoxPage]:
        """All opened pages."""
        return list(self._pages.values())

    async def start(self) -> None:
        """Begin the session; a Firefox has one at a time."""
        await self._socket.command("session.new", {"capabilities": {}})
        await self._socket.command("session.subscribe", {"events": ["log.entryAdded"]})

    async def open(
        self, url: str, *, width: int = 1100, height: int = 800, beside: FirefoxPage | None = None
    ) -> FirefoxPage:
        """A new page with a separate window.

        It has a storage of its own, or that of the page that it is opened `beside`.
        """
        container = beside.container if beside else await self._new_container()
        # A tab in the background draws nothing; a window of its own does.
        created = await self._socket.command(
            "browsingContext.create", {"type": "window", "userContext": container}
        )
        page = FirefoxPage(self._socket, created["context"], container=container)
        self._pages[created["context"]] = page
        await page.command(
            "browsingContext.setViewport", viewport={"width": width, "height": height}
        )
        await page.go(url)
        return page

    async def _new_container(self) -> str:
        created = await self._socket.command("browser.createUserContext", {})
        container: str = created["userContext"]
        self._containers.append(container)
        return container

    def take(self, event: Message) -> None:
        """Handle an event of the protocol: errors and refused content become `problems`."""
        if event.get("method") != "log.entryAdded":
            return
        entry = event["params"]
        page = self._pages.get(entry["source"].get("context"))
        # Tests cause network errors on purpose, and no field of an entry says that it is one.
        is_of_network = "connection to" in entry["text"]
        if page is not None and entry["level"] in ("error", "warn") and not is_of_network:
            page.problems.append(f"{entry['level']}: {entry['text']}")

    async def end(self) -> None:
        """Close all pages and end the session."""
        for container in self._containers:
            await self._socket.command("browser.removeUserContext", {"userContext": container})
        await self._socket.command("session.end", {})


@contextlib.asynccontextmanager
async def connect_firefox(address: str) -> AsyncIterator[Firefox]:
    """A browser at the address of `running_firefox`; its pages close with it."""
    async with open_socket(address) as socket:
        browser = Firefox(socket)
        reading = asyncio.create_task(socket.read(browser.take), name="firefox")
        try:
            await browser.start()
            yield browser
            await browser.end()
        finally:
            await socket.close()
            await reading

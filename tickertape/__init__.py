"""Tickertape: an append-only log for each LLM request, which any number of clients can read live.

The packages below are folders of the repository's top level, linked here so that all of them are
imported under one name: `tickertape.api`, `tickertape.worker`, `tickertape.broker`,
`tickertape.roles`, `tickertape.client`, `tickertape.cli` and `tickertape.runtime`.

The names of `__all__` are imported when they are first used, so that a server does not load the
clients, and a client does not load the server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickertape import testing as testing
    from tickertape.api.edge.caller import Caller as Caller
    from tickertape.api.mounting import mount as mount
    from tickertape.api.mounting import router as router
    from tickertape.client import AsyncClient as AsyncClient
    from tickertape.client import Client as Client
    from tickertape.client import TickertapeError as TickertapeError
    from tickertape.worker.functions.adapters import from_langgraph as from_langgraph
    from tickertape.worker.functions.adapters import from_openai as from_openai
    from tickertape.worker.functions.adapters import from_openai_agents as from_openai_agents
    from tickertape.worker.functions.adapters import from_pydantic_ai as from_pydantic_ai
    from tickertape.worker.functions.context import Context as Context
    from tickertape.worker.functions.definition import Function as Function
    from tickertape.worker.functions.definition import function as function
    from tickertape.worker.functions.protocol_adapters import from_ag_ui as from_ag_ui
    from tickertape.worker.functions.protocol_adapters import from_ai_sdk as from_ai_sdk
    from tickertape.worker.functions.request import Request as Request
    from tickertape.worker.functions.values import Data as Data
    from tickertape.worker.functions.values import Finish as Finish
    from tickertape.worker.functions.values import FunctionFailed as FunctionFailed
    from tickertape.worker.functions.values import Reasoning as Reasoning
    from tickertape.worker.functions.values import Refusal as Refusal
    from tickertape.worker.functions.values import Text as Text
    from tickertape.worker.functions.values import ToolCall as ToolCall
    from tickertape.worker.functions.values import ToolResult as ToolResult
    from tickertape.worker.functions.values import Usage as Usage
    from tickertape.worker.functions.values import Value as Value

_NAMES_BY_MODULE = {
    "tickertape.api.edge.caller": ("Caller",),
    "tickertape.api.mounting": ("mount", "router"),
    "tickertape.client": ("AsyncClient", "Client", "TickertapeError"),
    "tickertape.worker.functions.adapters": (
        "from_langgraph",
        "from_openai",
        "from_openai_agents",
        "from_pydantic_ai",
    ),
    "tickertape.worker.functions.context": ("Context",),
    "tickertape.worker.functions.definition": ("Function", "function"),
    "tickertape.worker.functions.protocol_adapters": ("from_ag_ui", "from_ai_sdk"),
    "tickertape.worker.functions.request": ("Request",),
    "tickertape.worker.functions.values": (
        "Data",
        "Finish",
        "FunctionFailed",
        "Reasoning",
        "Refusal",
        "Text",
        "ToolCall",
        "ToolResult",
        "Usage",
        "Value",
    ),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = [
    "AsyncClient",
    "Caller",
    "Client",
    "Context",
    "Data",
    "Finish",
    "Function",
    "FunctionFailed",
    "Reasoning",
    "Refusal",
    "Request",
    "Text",
    "TickertapeError",
    "ToolCall",
    "ToolResult",
    "Usage",
    "Value",
    "from_ag_ui",
    "from_ai_sdk",
    "from_langgraph",
    "from_openai",
    "from_openai_agents",
    "from_pydantic_ai",
    "function",
    "mount",
    "router",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name == "testing":
        return import_module("tickertape.testing")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)

"""The API with uvicorn's own protocol and a planted defect. A run against it must find faults."""

import sys
from typing import Any

from starlette.types import Scope

from tickertape.api.edge import guards
from tickertape.api.fanout.uvicorn_handover import HandoverProtocol
from tickertape.api.serving import draining_server
from tickertape.cli.main import main


class UnboundedProtocol(HandoverProtocol):
    """What the server was before it had bounds."""

    def __init__(self, *, doorway: object, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)


def check_badly(scope: Scope) -> bool:
    """A defect: an unexpected exception for some headers."""
    if any(name == b"range" for name, _ in scope["headers"]):
        raise RuntimeError
    return True


if __name__ == "__main__":
    vars(draining_server)["BoundedProtocol"] = UnboundedProtocol
    vars(guards)["_is_json_or_nothing"] = check_badly
    sys.exit(main())

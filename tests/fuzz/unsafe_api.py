"""The API with uvicorn's own protocol and a planted defect. A run against it must find faults."""

import sys
from typing import Any

from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.uvicorn_handover import HandoverProtocol
from tickertape.api.protocols import json_body
from tickertape.api.serving import server
from tickertape.cli.main import main

parse = json_body.parse_json


class UnboundedProtocol(HandoverProtocol):
    """What the server was before it had bounds."""

    def __init__(self, *, doorway: object, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)


def parse_badly(body: bytes, max_values: int) -> Any:
    """A defect: an unexpected exception for some bodies."""
    try:
        return parse(body, max_values)
    except Problem as problem:
        raise RuntimeError from problem


if __name__ == "__main__":
    vars(server)["BoundedProtocol"] = UnboundedProtocol
    json_body.parse_json = parse_badly
    sys.exit(main())

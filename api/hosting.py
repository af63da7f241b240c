"""What the server that runs an app gives to it."""

from typing import NamedTuple

from tickertape.runtime.siblings import Siblings
from tickertape.runtime.tracing import Tracer


class Hosting(NamedTuple):
    """What a server has beside the port of callers. It closes the tracer."""

    operator_port: int | None = None
    siblings: Siblings | None = None
    tracer: Tracer | None = None

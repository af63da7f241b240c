"""What the server that runs an app gives to it."""

from typing import NamedTuple

from tickertape.runtime.service_manager import READY, notify
from tickertape.runtime.siblings import Siblings
from tickertape.runtime.tracing import Tracer


class Hosting(NamedTuple):
    """What a server has beside the port of callers. It closes the tracer."""

    operator_port: int | None = None
    siblings: Siblings | None = None
    tracer: Tracer | None = None

    def report_ready(self) -> None:
        """Report that the app is ready: to the service manager, or to the parent of siblings."""
        if self.siblings is None:
            notify(READY)
        else:
            self.siblings.report_ready()

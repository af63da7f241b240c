"""How long the steps of requests took in this worker, each observed once for a request."""

import time

from tickertape.broker.leases import Lease
from tickertape.runtime.histogram import Histogram


class RequestTimes:
    """Histograms of times in seconds. Nothing is observed for each delta."""

    def __init__(self) -> None:
        self.submit_to_claim = Histogram(
            "tickertape_submit_to_claim_seconds",
            "From the submit of a request to its first claim",
        )
        self.claim_to_first_token = Histogram(
            "tickertape_claim_to_first_token_seconds",
            "From the claim of a request to the first output of the upstream",
        )
        self.submit_to_first_token = Histogram(
            "tickertape_submit_to_first_token_seconds",
            "From the submit of a request to the first output of the upstream",
        )
        self.takeover = Histogram(
            "tickertape_takeover_seconds",
            "From the last sign of life of a lost worker to the claim of its request",
        )
        self.cancel = Histogram(
            "tickertape_worker_cancel_seconds",
            "From the notice that a request was cancelled to the end of its upstream call",
        )
        self.all = (
            self.submit_to_claim,
            self.claim_to_first_token,
            self.submit_to_first_token,
            self.takeover,
            self.cancel,
        )

    def claimed(self, lease: Lease) -> None:
        """Observe how long a request waited, and how long it had no worker."""
        if lease.n == 1:
            self.submit_to_claim.observe(lease.waited_s)
        if lease.away_s is not None:
            self.takeover.observe(lease.away_s)

    def first_output(self, lease: Lease) -> None:
        """Observe the first output of a request; that of a later attempt is another one's."""
        if lease.opener == "started":
            since_claim_s = time.monotonic() - lease.claimed_at_s
            self.claim_to_first_token.observe(since_claim_s)
            self.submit_to_first_token.observe(lease.waited_s + since_claim_s)

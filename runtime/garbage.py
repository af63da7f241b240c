"""The garbage collector of a process that serves, so that no stream waits for it."""

import gc

# A collection starts after this many new objects, every third one visits those that survived the
# two before, and a full one is rare. Jobs, requests and streams leave no reference cycles (tests
# check), and logs are kept on purpose. At Python's 700, 10, 10, collections took a tenth of a
# worker's work, and full ones over 2,000 logs stopped an API process for 80 ms every few seconds.
# At 10,000, 10, 100, a collection of survivors visited 100,000 objects: in a flood, one stopped the
# process every 3 seconds, for 24 to 85 ms.
_THRESHOLDS = (5_000, 2, 1_000)


def tune_garbage_collector() -> None:
    """Call once, when all long-lived objects exist; collections skip them from then on.

    The openai SDK alone has 100,000 objects, and a collection that visits them takes 80 ms.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)

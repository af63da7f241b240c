"""The control: an API that forgets users, and that now and then sends a frame of another log."""

import itertools

from tickertape.api.edge.caller import Caller
from tickertape.api.fanout.rendering import Rendering
from tickertape.broker.codec import Entry

_EVERY = 500


def mix_callers() -> None:
    """Let all users of a tenant share their data, and send each 500th delta to two logs."""
    vars_of = {"principal": property(lambda caller: caller.tenant)}
    for name, value in vars_of.items():
        setattr(Caller, name, value)
    whole = Rendering.add
    numbers = itertools.count(1)
    kept: list[Entry] = []

    def add(self: Rendering, entry: Entry) -> None:
        if entry.kind == "delta" and next(numbers) % _EVERY == 0:
            kept.append(entry)
            entry = kept[-2] if len(kept) > 1 else entry
        whole(self, entry)

    Rendering.add = add  # type: ignore[method-assign]  # the defect

"""Points at which a test can end this process, as SIGKILL does: before and after each script.

`TICKERTAPE_FAULT=after_claim` ends the process after a claim returned a request, and
`before_append:3` ends the process just before the third append. Outside of tests the variable is
unset, and each point is a call of a function that does nothing.
"""

import os
import re
from collections.abc import Callable

_KILLED = 137  # what a shell reports for a process that SIGKILL ended
_FAULT = re.compile(r"(before|after)_([a-z]+)(?::([1-9]\d*))?", re.ASCII)

# The arguments are the moment, before or after, and the name of the script.
CrashAt = Callable[[str, str], None]


def armed(fault: str) -> CrashAt:
    """A function that ends the process at this point; raises ValueError for a malformed point."""
    match = _FAULT.fullmatch(fault)
    if match is None:
        raise ValueError("TICKERTAPE_FAULT looks like after_claim or before_append:3")
    point, left = (match[1], match[2]), int(match[3] or 1)

    def die_at(moment: str, script: str) -> None:
        nonlocal left
        if (moment, script) == point:
            left -= 1
            if left == 0:
                # Ends without handlers, flushes or messages.
                os._exit(_KILLED)

    return die_at


def _go_on(moment: str, script: str) -> None:
    del moment, script


_fault = os.environ.get("TICKERTAPE_FAULT")
crash_at: CrashAt = armed(_fault) if _fault else _go_on

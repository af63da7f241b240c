"""The closed sets of words that the broker stores and returns, as types that mypy checks."""

from typing import Final, Literal, get_args

Opener = Literal["started", "reset", "resumed"]
"""The first entry of an attempt: nothing to keep, output discarded, output kept."""

TextOutput = Literal["delta", "reasoning", "refusal"]
Output = Literal[TextOutput, "tool_call", "tool_result", "data"]
"""`tool_result` and `data` come from functions only, so readers of release 0.1.0 skip these."""

Terminal = Literal["completed", "failed", "cancelled"]
"""The last entry of a log, and the state of the request from then on."""

EntryKind = Literal["queued", Opener, Output, Terminal, "unknown"]
"""`unknown` stands for any kind of a later version: it is skipped, and its position is kept."""

Status = Literal["queued", "running", Terminal]
"""The state of a request as clients see it."""

RequestState = Literal["held", "delayed", Status]
"""The state in Redis: a held request waits for its conversation, a delayed one for a time."""

Policy = Literal["restart", "continue", "fail"]
"""What happens when an answer breaks off after output: the field `on_interruption`."""

OnBusy = Literal["queue", "reject", "replace"]
"""What happens when a conversation gets a request while it has an active one."""

AppendVerdict = Literal["OK", "DUP", "GAP", "FENCED", "TOO_LONG"]
AppendOutcome = Literal[AppendVerdict, "LOST", "REFUSED"]

Verdict = Literal[
    AppendVerdict, "GO", "EMPTY", "INTERRUPTED",
    "EXISTS", "CONFLICT", "FULL", "TENANT_LIMIT", "TENANT_BYTES", "KEPT", "RATE", "BUSY",
    "TERMINAL", "MISSING", "ACTIVE", "REFUSED", "STALE", "ELSEWHERE", "TAKEN",
]  # fmt: skip
"""The first word of a script's reply. The header of each script lists the words that it returns."""

OPENERS: Final = frozenset(get_args(Opener))
OUTPUT: Final = frozenset(get_args(Output))
TERMINALS: Final = frozenset(get_args(Terminal))
VERDICTS: Final = frozenset(get_args(Verdict))

BESIDE_PARAMS: Final = ("openai_params", "cache_key")
"""Parts of a request's payload beside its parameters, none of which may have such a name."""

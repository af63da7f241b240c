"""Pure: contexts of traces as W3C defines them, and what makes spans, as Protocols.

Nothing here needs OpenTelemetry. `runtime/open_telemetry.py` makes the spans, and only a process
whose traces are on imports it. https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypeAlias

Attributes: TypeAlias = Mapping[str, str | int | float | bool | Sequence[str]]
Kind = Literal["internal", "server", "client", "consumer"]

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
# Whether the trace is recorded, and whether its id is random. A later version may define more.
_KNOWN_FLAGS = 0b11
_KEY = r"[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_VALUE = r"[ -+\--<>-~]{0,255}[!-+\--<>-~]"
_MEMBER = re.compile(rf"(?P<key>{_KEY})=(?:{_VALUE})", re.ASCII)
_MAX_MEMBERS = 32
# What each system has to pass on. More would be kept in Redis for each request.
MAX_STATE_CHARS = 512


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span of any process, as others refer to it. `state` is what vendors add, for themselves."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    @classmethod
    def parse(cls, parent: str, state: str = "") -> Self | None:
        """The context of a `traceparent` and a `tracestate`; None if the first one is not valid.

        A `tracestate` that is not valid is dropped alone.
        """
        match = _PARENT.fullmatch(parent)
        if match is None:
            return None
        version, trace_id, span_id, flags, rest = match.groups()
        if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE:
            return None
        if span_id == _NO_SPAN:
            return None
        return cls(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, bounded_state(state))

    @property
    def traceparent(self) -> str:
        """The header of this name."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def stored(self) -> str:
        """One word or two, which `from_stored` reads."""
        return f"{self.traceparent} {self.state}" if self.state else self.traceparent

    @classmethod
    def from_stored(cls, text: str) -> Self | None:
        """The context that `stored` has written; None for an empty text, and for any other."""
        parent, _, state = text.partition(" ")
        return cls.parse(parent, state)

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self | None:
        """The context that a caller sent, if there is one `traceparent` and it is valid."""
        parents, states = [], []
        for name, value in headers:
            if name == b"traceparent":
                parents.append(value)
            elif name == b"tracestate":
                states.append(value)
        if len(parents) != 1:
            return None
        return cls.parse(str(parents[0], "latin-1"), str(b",".join(states), "latin-1"))


def bounded_state(text: str) -> str:
    """A `tracestate` with as many of its members as fit; empty if any of them is not valid."""
    members = [stripped for member in text.split(",") if (stripped := member.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match["key"] for match in matches if match is not None}
    if len(keys) < len(members) or len(members) > _MAX_MEMBERS:
        return ""
    kept = ""
    for member in members:
        longer = f"{kept},{member}" if kept else member
        if len(longer) > MAX_STATE_CHARS:
            break
        kept = longer
    return kept


class Span(Protocol):
    """A step under way."""

    @property
    def context(self) -> TraceContext:
        """What later steps name as their parent."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Add attributes, none of which may have content of a request."""
        ...

    def end(self, error: str | None = None) -> None:
        """The step is over. `error` is the code of what failed."""
        ...


class Tracer(Protocol):
    """Makes spans, and sends them to a collector from a thread of its own."""

    @property
    def has_gen_ai(self) -> bool:
        """Whether spans follow the conventions for generative AI."""
        ...

    def begin(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: TraceContext | None = None,
        attributes: Attributes | None = None,
        link: TraceContext | None = None,
        ago_s: float = 0.0,
    ) -> Span:
        """Begin a span, in a new trace if there is no parent. It began `ago_s` ago."""
        ...

    def close(self) -> None:
        """Send what is left, for a few seconds at most; blocks."""
        ...

"""How a chat completion is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tickertape.worker.upstream.chunks import ChunkReader


@dataclass(frozen=True)
class Call:
    """How a chat completion is asked for: where, as which body, and how its answer is read."""

    path: str = "/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    fit: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
    reader: Callable[..., ChunkReader] = ChunkReader

"""What a protocol declares to the app: its routes, and what differs on its paths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter

from tickertape.api.edge.error_forms import ErrorForm


@dataclass(frozen=True, eq=False)  # Identity, so that a protocol can be hashed.
class HttpProtocol:
    """One protocol. Each folder of api/protocols/ has one as `PROTOCOL`; api/app.py collects them.

    `error_forms` maps prefixes of paths to the form in which the protocol's clients read errors.
    Other paths have JSON errors. `max_body_bytes` maps paths to a limit that applies instead of the
    general one, as long as the settings do not change that. `quick` are the endpoints that are
    called most often (quick_route.py).
    """

    routers: tuple[APIRouter, ...]
    error_forms: Mapping[str, ErrorForm] = field(default_factory=dict)
    max_body_bytes: Mapping[str, int] = field(default_factory=dict)
    quick: tuple[Callable[..., Any], ...] = ()

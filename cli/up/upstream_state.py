"""Pure: what the workers' log says about the upstream, in words for the user of `up`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tickertape.cli.up.upstream_identity import DEFAULT_URL
from tickertape.runtime.addresses import hide_secrets
from tickertape.runtime.settings import Settings

LISTED = "models listed"
NOT_LISTED = "models not listed"
UPSTREAM_EVENTS = frozenset({LISTED, NOT_LISTED})


@dataclass(frozen=True)
class UpstreamState:
    """`problem` is why no question can be answered; empty if the upstream answers.

    `advice` is what else should be put right. `example_model` is a model that the printed commands
    must name; None if they need none.
    """

    problem: str = ""
    advice: str = ""
    example_model: str | None = None
    can_ask: bool = True
    """Whether the printed commands can work: a model is set, or can be named."""


def upstream_state(
    record: Mapping[str, Any], settings: Settings, *, is_local: bool
) -> UpstreamState:
    """The state after the latest of the UPSTREAM_EVENTS in the log of a worker."""
    where = "The local model" if is_local else f"The upstream at {_address(settings)}"
    if settings.upstreams is not None and not is_local:
        where = f"The first upstream of {settings.upstreams}"
    wanted = settings.openai_model
    if record.get("event") == LISTED:
        return UpstreamState() if is_local else _listed(record, wanted)
    if (problem := _problem(record, where, settings)) is not None:
        return UpstreamState(problem)
    if wanted is None:
        advice = (
            f"{where} has no list of models. Set OPENAI_MODEL, or name a model in each request."
        )
        return UpstreamState(advice=advice, can_ask=False)
    return UpstreamState(advice=f"{where} has no list of models, so {wanted} was not checked.")


def with_functions(
    state: UpstreamState, functions: Sequence[str], default: str | None
) -> UpstreamState:
    """The state of an upstream beside functions: the printed commands ask the first of these.

    `default` is the model of requests that name none.
    """
    if state.problem or not functions:
        return state
    if default in functions:
        return UpstreamState()
    return replace(state, example_model=functions[0], can_ask=True)


def _listed(record: Mapping[str, Any], wanted: str | None) -> UpstreamState:
    names = [str(name) for name in record.get("models") or ()]
    offered = _offered(names, int(record.get("count") or len(names)))
    if wanted is None:
        advice = f"OPENAI_MODEL is not set, so each request must name a model. {offered}"
        example = names[0] if names else None
        return UpstreamState(advice=advice, example_model=example, can_ask=bool(names))
    if record.get("lists_default"):
        return UpstreamState()
    return UpstreamState(
        advice=f"OPENAI_MODEL is {wanted}, which the upstream does not list. {offered}"
    )


def _offered(names: Sequence[str], count: int) -> str:
    if not names:
        return "The upstream lists no models."
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"The upstream offers {', '.join(names)}{more}."


def _problem(record: Mapping[str, Any], where: str, settings: Settings) -> str | None:
    """Why the upstream cannot answer; None if it only lacks a list of models."""
    status = record.get("status")
    reason = str(record.get("reason", ""))
    address = "OPENAI_BASE_URL" if settings.upstreams is None else "its base_url"
    path = f"Check the path of {address}, which ends in /v1 for most servers."
    if not record.get("has_chat", True):
        return f"{where} does not know this path (404). {path}"
    if record.get("has_no_list"):
        return None
    match record.get("code"), status:
        # Some servers answer 400 to a wrong key, and the worker reads their words.
        case _, _ if status in {401, 403} or "OPENAI_API_KEY" in reason:
            return f"{where} {_refused_key(settings, int(status or 0))}"
        case "upstream_unreachable", _:
            return f"{where} cannot be reached. Start that server, or correct {address}."
        case "upstream_stalled", _:
            return f"{where} does not answer in time."
        case "upstream_error", None:
            return f"{where} does not answer as OpenAI's API does. {reason} {path}"
        case _:
            return f"{where} does not list its models. {reason}"


def _refused_key(settings: Settings, status: int) -> str:
    if settings.upstreams is not None:
        return f"refuses its key ({status}). Correct its key_env or its key_file."
    if "@" in (settings.openai_base_url or ""):
        return f"refuses the account in OPENAI_BASE_URL ({status}). Correct that account."
    if settings.openai_api_key is None:
        return f"needs a key ({status}). Set OPENAI_API_KEY to a key of that server."
    return f"refuses the key ({status}). Set OPENAI_API_KEY to a key of that server."


def _address(settings: Settings) -> str:
    return hide_secrets(settings.openai_base_url or DEFAULT_URL)

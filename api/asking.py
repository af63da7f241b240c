"""Pure: turns the call of any protocol into the submission that the broker accepts.

The role is rendered here, when the request is accepted. An unknown role is therefore refused at
once, and a worker needs only the request.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tickertape.broker.kinds import OnBusy, Policy
from tickertape.broker.retention import Keep
from tickertape.broker.submission import Submission
from tickertape.broker.turns import Links
from tickertape.roles import Role, Roles, render
from tickertape.runtime.json_types import JsonObject

_MAX_SHOWN_VARIABLES_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A call of any protocol, checked, in the one form that `Services.submit` accepts.

    `messages` are the caller's messages. `params` are the parameters that the caller set, under the
    upstream's names, such as model and temperature. `openai_params` are sent to OpenAI only.
    `question` are the messages that the conversation keeps, if not all of `messages` are new, and
    `links` name the turn that they replace. Without `memory`, `messages` hold the earlier turns,
    and the worker adds none. `retention_s` is how long the caller wants the request, and its
    conversation, to be kept. `echo` is data that the protocol shows to its clients again; it is
    kept in the log, and only the wire of that protocol reads it. `kept_echo` is what the log keeps
    instead, with references in place of what is stored already. `follows` is the request that this
    one continues. `run_id` is the client's own name of the request, under which the conversation
    has one request only, whatever else a repeated call says. `for_functions` has values of the
    client that functions read, and no upstream.
    """

    wire: str
    messages: list[JsonObject]
    params: JsonObject = field(default_factory=dict)
    openai_params: JsonObject = field(default_factory=dict)
    role: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    conversation_id: str | None = None
    on_busy: OnBusy = "queue"
    on_interruption: Policy = "restart"
    metadata: dict[str, str] | None = None
    retention_s: int | None = None
    question: list[JsonObject] | None = None
    links: Links = field(default_factory=Links)
    memory: bool = True
    echo: JsonObject | None = None
    kept_echo: JsonObject | None = None
    follows: str | None = None
    run_id: str | None = None
    for_functions: JsonObject = field(default_factory=dict)


def submission_of(
    ask: Ask,
    roles: Roles,
    *,
    tenant: str,
    idempotency_key: str | None = None,
    keep: Keep | None = None,
    cache_key: str | None = None,
    limited: Callable[[JsonObject], JsonObject] = lambda params: params,
) -> Submission:
    """The submission for a call; raises RoleNotFound, UnknownVariable.

    `cache_key` separates the tenant's prompts in the cache of the upstream; None shares them.
    `limited` returns the parameters within the limits of the tenant, and may raise Problem.

    The payload keeps the role's messages apart from the caller's, because the worker inserts the
    finished turns of the conversation between them.
    """
    role = roles.choose(ask.role)
    params = limited({**role.model_defaults, **ask.params} if role else ask.params)
    return Submission(
        tenant=tenant,
        payload={
            "role_messages": render(role, [], ask.variables),
            "messages": ask.messages,
            "params": params,
            **({"openai_params": ask.openai_params} if ask.openai_params else {}),
            **({} if ask.memory else {"memory": False}),
            **({"cache_key": cache_key} if cache_key else {}),
        },
        head=_head(ask, role, params.get("model")),
        echo=ask.kept_echo or ask.echo,
        question=ask.messages if ask.question is None else ask.question,
        links=ask.links,
        near=ask.follows,
        options=_options(ask),
        model=params.get("model"),
        on_interruption=ask.on_interruption,
        conversation_id=ask.conversation_id,
        on_busy=ask.on_busy,
        idempotency_key=idempotency_key,
        # Only a key needs the fingerprint, which takes 100 ms for a body of 20 MB.
        fingerprint=fingerprint(ask) if idempotency_key else "",
        run_id=ask.run_id,
        keep=keep or Keep(),
    )


def _options(ask: Ask) -> JsonObject:
    """What the caller chose for this request, which the list of conversations shows."""
    options = {
        "role": ask.role,
        "model": ask.params.get("model"),
        "temperature": ask.params.get("temperature"),
        "variables": ask.variables or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _shown_variables(ask: Ask) -> dict[str, str] | None:
    """The variables, if they are small: each reader of the log gets them."""
    if not ask.variables:
        return None
    size = len(json.dumps(ask.variables, ensure_ascii=False).encode())
    return ask.variables if size <= _MAX_SHOWN_VARIABLES_BYTES else None


def _head(ask: Ask, role: Role | None, model: str | None) -> JsonObject:
    """What readers of the request may see beside its log."""
    head = {
        "wire": ask.wire,
        "role": role.name if role else None,
        "model": model,
        "conversation_id": ask.conversation_id,
        "metadata": ask.metadata,
        "temperature": ask.params.get("temperature"),
        "variables": _shown_variables(ask),
    }
    return {name: value for name, value in head.items() if value is not None}


def fingerprint(ask: Ask) -> str:
    """A hash that is equal for two bodies of the same meaning, however they were formatted.

    It covers only what the caller sent, so an edited role file causes no conflict.
    """
    # Requests of earlier versions had no such fields, and `links` depend on the turns that the
    # conversation has by now. Neither may make a repetition look like another request.
    later = {"openai_params", "variables", "retention_s", "run_id", "for_functions"}
    fields = {name: value for name, value in vars(ask).items() if value or name not in later}
    for name in ("links", "kept_echo", "follows"):
        del fields[name]
    if ask.links.parent is not None:
        fields["parent"] = ask.links.parent
    digest = hashlib.sha256()
    for piece in _canonical(fields):
        digest.update(piece.encode())
    return digest.hexdigest()


def _canonical(fields: JsonObject) -> Iterator[str]:
    """JSON with sorted names, in pieces, because one call for 20 MB would delay other threads."""
    for number, name in enumerate(sorted(fields)):
        yield f"{',' if number else '{'}{_json(name)}:"
        value = fields[name]
        if not isinstance(value, list):
            yield _json(value)
            continue
        yield "["
        for index, item in enumerate(value):
            yield f",{_json(item)}" if index else _json(item)
        yield "]"
    yield "}"


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

"""Pure: from what a caller asks, over whatever wire, to what the broker accepts.

The role is rendered here, when the request is accepted: an unknown one is refused at once, and a
worker needs nothing but the request.
"""

import hashlib
import json
from dataclasses import dataclass, field

from tickertape.broker.kinds import OnBusy, Policy
from tickertape.broker.requests import Submission
from tickertape.broker.turns import Links
from tickertape.roles import Role, Roles, render
from tickertape.runtime.json_types import JsonObject


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a caller asks for. `messages` are the caller's own; `params` hold only what was given.

    `params` are the upstream's names: model, temperature, top_p, max_tokens, and what else a wire
    passes through; `openai_params` are left out for any other upstream. `question` is what a
    conversation keeps of the messages: those that are new; `links` are their place in it. Without
    `memory`, `messages` hold what was said before, and the server adds nothing. `echo` is what the
    wire says back in its own words; it lives in the log, and only that wire reads it.
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
    question: list[JsonObject] | None = None
    links: Links = field(default_factory=Links)
    memory: bool = True
    echo: JsonObject | None = None


def submission_of(
    ask: Ask, roles: Roles, *, tenant: str, idempotency_key: str | None = None
) -> Submission:
    """The submission for an ask; raises RoleNotFound, UnknownVariable.

    The worker's payload keeps the role's messages apart from the caller's, since the finished turns
    of the conversation go between them.
    """
    role = roles.choose(ask.role)
    params = {**role.model_defaults, **ask.params} if role else ask.params
    return Submission(
        tenant=tenant,
        payload={
            "role_messages": render(role, [], ask.variables),
            "messages": ask.messages,
            "params": params,
            **({"openai_params": ask.openai_params} if ask.openai_params else {}),
            **({} if ask.memory else {"memory": False}),
        },
        head=_head(ask, role, params.get("model")),
        echo=ask.echo,
        question=ask.messages if ask.question is None else ask.question,
        links=ask.links,
        model=params.get("model"),
        on_interruption=ask.on_interruption,
        conversation_id=ask.conversation_id,
        on_busy=ask.on_busy,
        idempotency_key=idempotency_key,
        # It is compared for the key alone, and costs 100 ms for a body of 20 MB.
        fingerprint=fingerprint(ask) if idempotency_key else "",
    )


def _head(ask: Ask, role: Role | None, model: str | None) -> JsonObject:
    """What a reader of the request may see next to its log."""
    head = {
        "wire": ask.wire,
        "role": role.name if role else None,
        "model": model,
        "conversation_id": ask.conversation_id,
        "metadata": ask.metadata,
    }
    return {name: value for name, value in head.items() if value is not None}


def fingerprint(ask: Ask) -> str:
    """A hash that is the same for two bodies that ask for the same, however they were written.

    It leaves out what the server adds: an edited role file does not turn a repeat into a conflict.
    """
    later = {"openai_params", "variables"}
    # A field that came later does not turn a repeat of an earlier request into a conflict, nor does
    # what else the conversation holds by then.
    asked = {name: value for name, value in vars(ask).items() if value or name not in later}
    del asked["links"]
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()

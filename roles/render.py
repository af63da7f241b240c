"""Role + variables + the caller's messages -> the messages a model gets. Pure."""

import platform
import re
from collections.abc import Mapping, Sequence

from tickertape.roles.errors import UnknownVariable
from tickertape.roles.models import Message, Role
from tickertape.roles.registry import DEFAULT_ROLE

# Where this process runs ("Linux", "Darwin", "Windows"), read once so that rendering stays pure.
SERVER_OS = platform.system() or "unknown"

OS_VARIABLE = "OS"

# `$${` (a literal `${`), else `${NAME}`, else a `${` that is neither. Any other `$` is just text.
PLACEHOLDER = re.compile(r"\$\$\{|\$\{(\w+)\}|\$\{")


def render(
    role: Role | None,
    messages: Sequence[Message],
    variables: Mapping[str, str] | None = None,
    os_name: str = SERVER_OS,
) -> list[Message]:
    """Put the role's messages before the caller's; without a role the caller's are all there is.

    The list and the role's messages are new; the caller's messages are the same objects, unchanged.
    `variables` replace the role's defaults. Values go in as they are: a `${NAME}` or a heading
    inside a value is text. Raises UnknownVariable for a name that the role does not declare, and
    for any without a role.
    """
    given = variables or {}
    if role is None:
        for name in given:
            raise UnknownVariable(DEFAULT_ROLE, name, ())
        return list(messages)
    values = _values(role, given, os_name)
    opening: list[Message] = [
        {"role": said.role, "content": _fill(said.content, values)} for said in role.messages
    ]
    return [*opening, *messages]


def _values(role: Role, given: Mapping[str, str], os_name: str) -> dict[str, str]:
    for name in given:
        if name not in role.variables:
            raise UnknownVariable(role.name, name, role.variables)
    return {**role.variables, **given, OS_VARIABLE: os_name}


def _fill(content: str, values: Mapping[str, str]) -> str:
    # One pass, so that what a value contains is never expanded in turn.
    return PLACEHOLDER.sub(lambda found: values[found[1]] if found[1] else "${", content)

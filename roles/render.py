"""Pure: a role, its variables and the caller's messages to the messages for the model."""

import platform
import re
from collections.abc import Mapping, Sequence

from tickertape.roles.errors import UnknownVariable
from tickertape.roles.models import Message, Role
from tickertape.roles.registry import DEFAULT_ROLE

# The platform ("Linux", "Darwin", "Windows"), read once so that rendering stays pure.
SERVER_OS = platform.system() or "unknown"

OS_VARIABLE = "OS"

# Matches `$${` (a literal `${`), `${NAME}`, or an invalid `${`. Any other `$` is plain text.
PLACEHOLDER = re.compile(r"\$\$\{|\$\{(\w+)\}|\$\{")


def render(
    role: Role | None,
    messages: Sequence[Message],
    variables: Mapping[str, str] | None = None,
    os_name: str = SERVER_OS,
) -> list[Message]:
    """Return the role's messages, followed by the caller's; without a role, only the caller's.

    The list and the role's messages are new objects. The caller's messages are the same objects,
    unchanged. `variables` replace the role's defaults. Values are inserted verbatim: a `${NAME}` or
    a heading inside a value is text. Raises UnknownVariable for a variable that the role does not
    declare, or if variables are set without a role.
    """
    variables = variables or {}
    if role is None:
        for name in variables:
            raise UnknownVariable(DEFAULT_ROLE, name, ())
        return list(messages)
    values = _values(role, variables, os_name)
    filled: list[Message] = [
        {"role": template.role, "content": _fill(template.content, values)}
        for template in role.messages
    ]
    return [*filled, *messages]


def _values(role: Role, variables: Mapping[str, str], os_name: str) -> dict[str, str]:
    for name in variables:
        if name not in role.variables:
            raise UnknownVariable(role.name, name, role.variables)
    return {**role.variables, **variables, OS_VARIABLE: os_name}


def _fill(content: str, values: Mapping[str, str]) -> str:
    # A single pass, so that a placeholder inside a value is not expanded.
    return PLACEHOLDER.sub(lambda match: values[match[1]] if match[1] else "${", content)

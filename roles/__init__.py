"""Role templates: Markdown files read and checked once at start, and rendered without I/O after.

Knows nothing of HTTP, Redis or the upstream. `load_roles` once, then `Roles.choose` and `render`
per request.
"""

from tickertape.roles.errors import Problem, RoleNotFound, RolesInvalid, UnknownVariable
from tickertape.roles.loader import load_roles
from tickertape.roles.models import Message, ModelDefaults, Role, RoleMessage
from tickertape.roles.registry import Roles
from tickertape.roles.render import render

__all__ = [
    "Message",
    "ModelDefaults",
    "Problem",
    "Role",
    "RoleMessage",
    "RoleNotFound",
    "Roles",
    "RolesInvalid",
    "UnknownVariable",
    "load_roles",
    "render",
]

"""Role templates: Markdown files read and checked once at start, and rendered without I/O after.

Knows nothing of HTTP, Redis or the upstream. `load_roles` once, then `Roles.choose` and `render`
per request.
"""

from roles.errors import Problem, RoleNotFound, RolesInvalid, UnknownVariable
from roles.loader import load_roles
from roles.models import Message, ModelDefaults, Role, RoleMessage
from roles.registry import Roles
from roles.render import render

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

"""Role templates: Markdown files that are read and checked at the start, then rendered without I/O.

Call `load_roles` once, then `Roles.choose` and `render` for each request. Read in this order:
`models`, `loader`, `parse` with `front_matter` and `sections`, `registry`, `render`. This package
does not know HTTP, Redis or the upstream.
"""

from tickertape.roles.errors import RoleNotFound, RoleProblem, RolesInvalid, UnknownVariable
from tickertape.roles.loader import load_roles
from tickertape.roles.models import Message, ModelDefaults, Role, RoleMessage
from tickertape.roles.registry import Roles
from tickertape.roles.render import render

__all__ = [
    "Message",
    "ModelDefaults",
    "Role",
    "RoleMessage",
    "RoleNotFound",
    "RoleProblem",
    "Roles",
    "RolesInvalid",
    "UnknownVariable",
    "load_roles",
    "render",
]

"""Roles: the templates that a request can name."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from tickertape.api.dependencies import AnyServices, Tenant
from tickertape.api.edge.error_docs import error_responses
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["roles"])


class RoleSummary(BaseModel):
    """A role without its messages. `variables` maps each name to its default."""

    name: str
    description: str
    model_defaults: JsonObject
    variables: dict[str, str]


class RoleDetail(RoleSummary):
    """A role with its messages, which precede the caller's. Placeholders are not filled."""

    messages: list[dict[str, str]]


class RoleList(BaseModel):
    """All roles, sorted by name."""

    roles: list[RoleSummary]


@router.get("/roles", responses=error_responses(401))
async def list_roles(services: AnyServices, _: Tenant) -> RoleList:
    """List the roles, sorted by name."""
    return RoleList(roles=[RoleSummary(**role.summary()) for role in services.roles])


@router.get("/roles/{name}", responses=error_responses(401, 404))
async def read(
    name: Annotated[
        str, Path(description="A `name` of `GET /roles`", max_length=200, examples=["translator"])
    ],
    services: AnyServices,
    _: Tenant,
) -> RoleDetail:
    """Return a role with its messages."""
    return RoleDetail(**services.roles.get(name).detail())

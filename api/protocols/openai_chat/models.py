"""OpenAI's list of models: functions, what the upstream last listed to a worker, and roles."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from tickertape.api.dependencies import CurrentCaller, UsableServices
from tickertape.api.edge.caller import Caller
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.edge.problems import Problem
from tickertape.api.functions import listed_functions
from tickertape.api.protocols.openai import ROLE_PREFIX
from tickertape.api.services import Services
from tickertape.broker.upstream_models import read_models
from tickertape.roles import Role
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["openai"])

# Of functions and roles.
_OWNER = "tickertape"


class Model(BaseModel):
    """A function, a model of the upstream, or a role as a model."""

    id: str = Field(examples=["gpt-5-mini", "role:translator"])
    object: str = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The list of models."""

    object: str = "list"
    data: list[Model]


@router.get("/v1/models", responses=error_responses(401, 503))
async def list_models(services: UsableServices, caller: CurrentCaller) -> ModelList:
    """List the functions and the models that the caller may use, as long as a worker runs.

    Roles are models, too.
    """
    return ModelList(data=await _models(services, caller))


@router.get("/v1/models/{model:path}", responses=error_responses(401, 404, 503))
async def retrieve(
    model: Annotated[str, Path(description="May contain slashes")],
    services: UsableServices,
    caller: CurrentCaller,
) -> Model:
    """Return one model, or one role as a model."""
    for found in await _models(services, caller):
        if found.id == model:
            return found
    raise Problem(404, "model_not_found", "There is no model of this name.", param="model")


async def _models(services: Services, caller: Caller) -> list[Model]:
    listed = await read_models(services.connections)
    if listed is None and services.settings.openai_model:
        # No worker has listed the models lately, so show the default model.
        listed = [{"id": services.settings.openai_model}]
    rules = services.rules.of(caller.tenant)
    functions = sorted(listed_functions(services.fleet.members))
    models = [Model(id=name, created=0, owned_by=_OWNER) for name in functions]
    models += [_model(model) for model in listed or () if model.get("id") not in functions]
    # The rules of a tenant limit what callers name. The model of a role is the operator's choice.
    return [
        *(each for each in models if rules.allows_model(each.id) and caller.may_use(each.id)),
        *(
            _role(role)
            for role in services.roles
            if caller.may_use(role.model_defaults.get("model"))
        ),
    ]


def _role(role: Role) -> Model:
    return Model(id=f"{ROLE_PREFIX}{role.name}", created=0, owned_by=_OWNER)


def _model(listed: JsonObject) -> Model:
    # Self-hosted upstreams omit fields that OpenAI's clients require.
    created, owner = listed.get("created"), listed.get("owned_by")
    return Model(
        id=str(listed["id"]),
        created=created if isinstance(created, int) else 0,
        owned_by=owner if isinstance(owner, str) else "",
    )

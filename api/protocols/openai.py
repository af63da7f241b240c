"""What OpenAI's two protocols share: bodies that stay open, and roles that are named as models."""

from pydantic import BaseModel, ConfigDict

from tickertape.api.edge.error_forms import ErrorForm
from tickertape.api.edge.problems import Problem
from tickertape.runtime.json_types import JsonObject

ERROR_FORMS = {"/v1/": ErrorForm.OPENAI}
ROLE_PREFIX = "role:"
"""A model whose name has this prefix is a role template, on the default model."""


class OpenBody(BaseModel):
    """A body that may hold more fields than are named."""

    model_config = ConfigDict(extra="allow")


def role_of(model: str | None) -> str | None:
    """The role that a model's name stands for, None for a model of the upstream."""
    return model.removeprefix(ROLE_PREFIX) if model and model.startswith(ROLE_PREFIX) else None


def without_role(params: JsonObject) -> JsonObject:
    """Parameters for the upstream, which knows no roles."""
    if role_of(params.get("model")) is None:
        return params
    return {name: value for name, value in params.items() if name != "model"}


def unsupported(param: str, message: str) -> Problem:
    """A field of OpenAI's that this server does not do."""
    return Problem(400, "unsupported_value", message, param=param)

"""What OpenAI's two protocols share: open bodies, and roles that callers name as models."""

from pydantic import BaseModel, ConfigDict

from tickertape.api.edge.error_forms import ErrorForm
from tickertape.api.edge.problems import Problem
from tickertape.runtime.json_types import JsonObject

ERROR_FORMS = {"/v1/": ErrorForm.OPENAI}
ROLE_PREFIX = "role:"
"""A model whose name has this prefix is a role template, on the default model."""


class OpenBody(BaseModel):
    """A body that may have further fields."""

    model_config = ConfigDict(extra="allow")


def role_of(model: str | None) -> str | None:
    """The role that a model's name selects, None for a model of the upstream."""
    return model.removeprefix(ROLE_PREFIX) if model and model.startswith(ROLE_PREFIX) else None


def without_role(params: JsonObject) -> JsonObject:
    """The parameters without a role in place of the model, which the upstream would refuse."""
    if role_of(params.get("model")) is None:
        return params
    return {name: value for name, value in params.items() if name != "model"}


def unsupported(param: str, message: str) -> Problem:
    """The error for a field of OpenAI's API that this server does not support."""
    return Problem(400, "unsupported_value", message, param=param)

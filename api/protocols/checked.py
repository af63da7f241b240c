"""The base of all bodies. Each body is checked completely before any use."""

import math
from collections.abc import Mapping
from typing import Annotated, LiteralString, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from tickertape.api.edge.field_paths import join_path
from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.json_body import MAX_DEPTH
from tickertape.runtime.json_types import JsonObject

MAX_METADATA_KEYS = 16
# Of an object that may have further fields; each of them is a parameter of the upstream.
_MAX_FIELDS = 1000

T = TypeVar("T")


def at_most(most: int) -> BeforeValidator:
    """Refuse an object of more than `most` fields before its fields are validated.

    Each faulty field would be an error, and only the first one is reported.
    """

    def check(value: object) -> object:
        if isinstance(value, dict):
            check_size(value, most)
        return value

    return BeforeValidator(check)


def check_size(value: JsonObject, most: int) -> None:
    """Refuse an object with more than `most` fields, as pydantic does."""
    if len(value) > most:
        details = {"field_type": "Dictionary", "max_length": most, "actual_length": len(value)}
        raise PydanticKnownError("too_long", details)


Items: TypeAlias = Annotated[list[T], Field(fail_fast=True)]
"""A list whose validation ends at the first faulty item, because only that one is reported."""
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Metadata: TypeAlias = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=MAX_METADATA_KEYS),
    at_most(MAX_METADATA_KEYS),
]
"""A caller's labels for a request, within OpenAI's limits."""


def check_json(value: object) -> None:
    """Reject valid JSON that other systems cannot store.

    Raises Problem with the field's name for NUL, lone surrogates, infinities and nesting beyond
    MAX_DEPTH.
    """
    # Most bodies are valid, so the slower search for the field runs only after this check fails.
    if not _is_storable(value, MAX_DEPTH.get()):
        _name_fault(value, ())


def _is_storable(value: object, max_depth: int) -> bool:
    """Whether a value can be stored. It visits each value once, level by level."""
    level, depth = [value], 0
    while level:
        if depth > max_depth:
            return False
        below: list[object] = []
        for item in level:
            match item:
                case str():
                    if not _is_storable_text(item):
                        return False
                case dict():
                    if not all(map(_is_storable_text, item)):
                        return False
                    below.extend(item.values())
                case list():
                    below.extend(item)
                case float() if not math.isfinite(item):
                    return False
        level, depth = below, depth + 1
    return True


def _is_storable_text(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_fault(value: object, steps: tuple[str | int, ...]) -> None:
    if len(steps) > MAX_DEPTH.get():
        raise _invalid(steps[:1], f"nested deeper than {MAX_DEPTH.get()} levels")
    match value:
        case str():
            _check_text(value, steps)
        case float() if not math.isfinite(value):
            raise _invalid(steps, "not a finite number")
        case list():
            for number, item in enumerate(value):
                _name_fault(item, (*steps, number))
        case dict():
            for key, item in value.items():
                # The error does not name a faulty key, because a response could not contain it.
                _check_text(key, steps)
                _name_fault(item, (*steps, key))


def _check_text(text: str, steps: tuple[str | int, ...]) -> None:
    if "\0" in text:
        raise _invalid(steps, "holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(steps, "holds half of a surrogate pair") from None


def _invalid(steps: tuple[str | int, ...], fault: str) -> Problem:
    param = join_path(steps)
    return Problem(400, "invalid_value", f"{param or 'body'}: {fault}", param=param or None)


class Item(BaseModel):
    """A part of a body that may occur thousands of times.

    A thread that validates a large body lets other threads run at each call of Python code, and so
    before each item.
    """

    @model_validator(mode="before")
    @classmethod
    def _is_not_crowded(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        match cls.model_config.get("extra"):
            case "forbid":
                return _without_more_unknown(cls, value)
            case "allow":
                check_size(value, _MAX_FIELDS)
        return value


def _without_more_unknown(model: type[BaseModel], value: JsonObject) -> JsonObject:
    """The object with at most one field that the model does not have, the first one.

    Each unknown field would be an error, and only the first one is reported.
    """
    known = model.model_fields
    if len(value) <= len(known):
        return value
    first = next(name for name in value if name not in known)
    return {name: item for name, item in value.items() if name in known or name == first}


class Checked(Item):
    """A body whose JSON is checked before its fields are validated."""

    @model_validator(mode="before")
    @classmethod
    def _is_clean(cls, body: object) -> object:
        check_json(cls.kept_fields(body))
        return body

    @classmethod
    def kept_fields(cls, body: object) -> object:
        """The part of a body that is stored or sent on. Only this part is checked."""
        return body


def field_error(kind: LiteralString, param: str, message: LiteralString) -> PydanticCustomError:
    """An error about one field, from a validator of the whole body.

    `kind` is a type of pydantic's errors: `missing`, or `value_error` for a wrong value. See
    api/edge/error_rules.py for the form that callers receive.
    """
    return PydanticCustomError(kind, message, {"param": param})


def known_fields(
    model: type[BaseModel], value: object, inner: Mapping[str, type[BaseModel]] | None = None
) -> object:
    """The fields of an object that the model has, also within the fields that `inner` names.

    Items keep their indices in lists, so that the paths in errors match the body.
    """
    if not isinstance(value, dict):
        return value
    known = {name: value[name] for name in model.model_fields if name in value}
    for name, item_model in (inner or {}).items():
        items = known.get(name)
        if isinstance(items, list):
            known[name] = [known_fields(item_model, item) for item in items]
        elif name in known:
            known[name] = known_fields(item_model, items)
    return known


def shape_of(content: object) -> str:
    """The branch of a union of text and list, so that errors name only the branch that was sent."""
    return "parts" if isinstance(content, list) else "text"

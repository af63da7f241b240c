"""Pure: the name of a field at fault, as its caller wrote it."""

from collections.abc import Sequence

_MAX_PARAM_CHARS = 200


def field_path(steps: Sequence[str | int], body: object) -> str:
    """Name a field as its caller would: `messages[3].content`.

    Pydantic's location of an error also names the branches of unions, which the caller did not
    write. A step that does not lead to a value in the body is therefore omitted, unless it is the
    last one, which names a missing field.
    """
    known: list[str | int] = []
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        if isinstance(body, list) and isinstance(step, int):
            known.append(step)
            body = body[step]
        elif isinstance(body, dict) and (step in body or is_last):
            known.append(step)
            body = body.get(step)
    return join_path(known)


def join_path(steps: Sequence[str | int]) -> str:
    """The steps as one text, truncated because the caller chose the names in it."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path[:_MAX_PARAM_CHARS]

"""The decorator that makes a function of an async generator."""

import inspect
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

from tickertape.worker.functions.context import Context
from tickertape.worker.functions.request import Request
from tickertape.worker.functions.values import Value

Body: TypeAlias = Callable[..., AsyncIterator[Value]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)
_NEEDED = frozenset(
    {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    }
)


class Function:
    """An async generator with a name, which requests use as their `model`.

    Calling it calls the generator, so that it can be tested like any other.
    """

    def __init__(self, name: str, body: Body) -> None:
        self.name = name
        self.__doc__ = body.__doc__
        self.__wrapped__ = body
        self._takes_context = _takes_context(name, body)

    def __call__(self, *args: Any, **kwargs: Any) -> AsyncIterator[Value]:
        """What the decorated generator returns."""
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tickertape function {self.name!r}>"

    def run(self, request: Request, context: Context) -> AsyncIterator[Value]:
        """The values for a request; the generator gets the context if it has a parameter for it."""
        given = (request, context) if self._takes_context else (request,)
        return self.__wrapped__(*given)


def function(name: str) -> Callable[[Body], Function]:
    """Make a function of an async generator; requests with this `model` run it.

    The generator gets a Request and, if it has a second parameter, a Context. It yields text or
    other values (worker/functions/values.py). Raises TypeError and ValueError.
    """
    if not isinstance(name, str):
        raise TypeError('write @tickertape.function("NAME"), with the name that requests use')
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a function: use 1 to 64 letters, digits and any of . _ : / -,"
            " with a letter or a digit first"
        )
    return lambda body: Function(name, body)


def _takes_context(name: str, body: Body) -> bool:
    where = f"the function {name!r} ({getattr(body, '__qualname__', type(body).__name__)})"
    if not inspect.isasyncgenfunction(body):
        raise TypeError(
            f"{where} is not an async generator: write it as `async def` with at least one `yield`"
        )
    given = inspect.signature(body).parameters.values()
    needed = [each for each in given if each.default is each.empty and each.kind in _NEEDED]
    named = [each for each in needed if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    if len(named) != len(needed) or len(named) not in {1, 2}:
        raise TypeError(f"{where} must take a request, and may take a context: (request, context)")
    return len(named) == 2

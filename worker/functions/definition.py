"""The decorator that makes a function of an async generator."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, TypeAlias

from tickertape.broker.pools import is_function_name
from tickertape.worker.functions.context import Context
from tickertape.worker.functions.request import Request
from tickertape.worker.functions.values import Value

OnInterruption: TypeAlias = Literal["restart", "fail"] | None
Body: TypeAlias = Callable[..., AsyncIterator[Value]]

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

    def __init__(self, name: str, body: Body, on_interruption: OnInterruption = None) -> None:
        self.name = name
        self.on_interruption = on_interruption
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


def function(name: str, *, on_interruption: OnInterruption = None) -> Callable[[Body], Function]:
    """Make a function of an async generator; requests with this `model` run it.

    The generator gets a Request and, if it has a second parameter, a Context. It yields text or
    other values (worker/functions/values.py).

    `on_interruption` says what follows when its worker dies. `restart`: another worker runs the
    function again, with the state of its last checkpoint if it made one. `fail`: the request fails.
    None: as `restart`, but the request fails if the function has yielded a ToolCall since its begin
    or its last checkpoint, because the tool may have run. Raises TypeError and ValueError.
    """
    if not isinstance(name, str):
        raise TypeError('write @tickertape.function("NAME"), with the name that requests use')
    if not is_function_name(name):
        raise ValueError(
            f"{name!r} cannot name a function: use 1 to 64 letters, digits and any of . _ : / -,"
            " with a letter or a digit first"
        )
    if on_interruption not in {None, "restart", "fail"}:
        raise ValueError(f"on_interruption is {on_interruption!r}: use 'restart', 'fail' or None")
    return lambda body: Function(name, body, on_interruption)


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

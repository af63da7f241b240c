"""No "missing" from a former primary: who finds nothing asks the Sentinels, and looks once more.

For a while after a fail-over, a process may read the former primary, which lacks what the new one
has accepted since. Without Sentinels nothing is asked.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from tickertape.broker.connections import Connections
from tickertape.broker.errors import ParentMissing, RequestMissing

P = ParamSpec("P")
T = TypeVar("T")


class _Stored(Protocol):
    _connections: Connections


AnyStored = TypeVar("AnyStored", bound=_Stored)
Method = Callable[Concatenate[AnyStored, P], Coroutine[Any, Any, T]]


def never_from_a_former_primary(method: Method[AnyStored, P, T]) -> Method[AnyStored, P, T]:
    """Call a method a second time when it found nothing and the Sentinels could be asked.

    The method may be repeated: a call that raises RequestMissing or ParentMissing has no effect.
    Raises what the second call raises, and Unavailable.
    """

    @functools.wraps(method)
    async def looking_twice(self: AnyStored, /, *args: P.args, **options: P.kwargs) -> T:
        try:
            return await method(self, *args, **options)
        except (RequestMissing, ParentMissing):
            if not await self._connections.check_primary():
                raise
        return await method(self, *args, **options)

    return looking_twice
